import { describe, expect, inject, it } from 'vitest';
import { manyUsers } from '../encryption/support/many-users.js';

describe('users with encryption, on Synapse', () => {
  manyUsers(it, expect, { pairs: 50, target: async () => inject('synapse') });
});
