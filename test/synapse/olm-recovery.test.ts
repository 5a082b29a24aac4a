import { describe, expect, inject, it } from 'vitest';
import { olmRecovery } from '../encryption/support/olm-recovery.js';

describe('a device on Synapse', () => {
  olmRecovery(it, expect, async () => inject('synapse'));
});
