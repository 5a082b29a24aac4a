import { describe, expect, inject, it } from 'vitest';
import { reading } from '../messages/support/reading.js';

describe('reading a room, on Synapse', () => {
  reading(it, expect, async () => inject('synapse'));
});
