import { describe, expect, inject, it } from 'vitest';
import { messageSenders } from '../encryption/support/message-senders.js';

describe('the sender of a decrypted message, on Synapse', () => {
  messageSenders(it, expect, async () => inject('synapse'));
});
