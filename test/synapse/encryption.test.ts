import { describe, expect, inject, it } from 'vitest';
import { conversations } from '../encryption/support/conversations.js';

describe('users with encryption, on Synapse', () => {
  conversations(it, expect, async () => inject('synapse'));
});
