import { describe, expect, it } from 'vitest';
import { FakeHomeserver } from '../../src/testing/fake-homeserver/fake-homeserver.js';
import { keyMetrics } from './key-metrics.js';

describe('metrics of keys, on the fake homeserver', () => {
  keyMetrics(it, expect, async () => new FakeHomeserver());
});
