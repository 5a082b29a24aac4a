import { describe, expect, it } from 'vitest';
import { FakeHomeserver } from '../../src/testing/fake-homeserver/fake-homeserver.js';
import { messageSenders } from './support/message-senders.js';

describe('the sender of a decrypted message, on the fake homeserver', () => {
  messageSenders(it, expect, async () => new FakeHomeserver());
});
