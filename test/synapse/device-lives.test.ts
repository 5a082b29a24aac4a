import { describe, expect, inject, it } from 'vitest';
import { deviceLives } from '../encryption/support/device-lives.js';

describe('devices with encryption, on Synapse', () => {
  deviceLives(it, expect, async () => inject('synapse'));
});
