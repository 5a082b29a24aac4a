import { describe, expect, inject, it } from 'vitest';
import { comingsAndGoings } from '../encryption/support/comings-and-goings.js';

describe('clients with encryption that come and go, on Synapse', () => {
  comingsAndGoings(it, expect, { rounds: 150, target: async () => inject('synapse') });
});
