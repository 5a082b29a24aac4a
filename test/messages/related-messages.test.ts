import { describe, expect, it } from 'vitest';
import { FakeHomeserver } from '../../src/testing/fake-homeserver/fake-homeserver.js';
import { relatedMessages } from './support/related-messages.js';

describe('related messages, on the fake homeserver', () => {
  relatedMessages(it, expect, async () => new FakeHomeserver());
});
