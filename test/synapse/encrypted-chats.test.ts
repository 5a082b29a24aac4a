import { describe, expect, inject, it } from 'vitest';
import { encryptedChats } from '../encryption/support/encrypted-chats.js';

describe('encrypted messages, on Synapse', () => {
  encryptedChats(it, expect, async () => inject('synapse'));
});
