import { describe, expect, inject, it } from 'vitest';
import { relatedMessages } from '../messages/support/related-messages.js';

describe('related messages, on Synapse', () => {
  relatedMessages(it, expect, async () => inject('synapse'));
});
