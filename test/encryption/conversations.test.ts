import { describe, expect, it } from 'vitest';
import { FakeHomeserver } from '../../src/testing/fake-homeserver/fake-homeserver.js';
import { conversations } from './support/conversations.js';

describe('users with encryption, on the fake homeserver', () => {
  conversations(it, expect, async () => new FakeHomeserver());
});
