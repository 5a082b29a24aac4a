import { describe, expect, inject, it } from 'vitest';
import { keyMetrics } from '../telemetry/key-metrics.js';

describe('metrics of keys, on Synapse', () => {
  keyMetrics(it, expect, async () => inject('synapse'));
});
