import { describe, expect, it } from 'vitest';
import { FakeHomeserver } from '../../src/testing/fake-homeserver/fake-homeserver.js';
import { encryptedChats } from './support/encrypted-chats.js';

describe('encrypted messages, on the fake homeserver', () => {
  encryptedChats(it, expect, async () => new FakeHomeserver());
});
