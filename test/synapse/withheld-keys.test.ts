import { describe, expect, inject, it } from 'vitest';
import { withheldKeys } from '../encryption/support/withheld-keys.js';

describe('devices that get no keys, on Synapse', () => {
  withheldKeys(it, expect, async () => inject('synapse'));
});
