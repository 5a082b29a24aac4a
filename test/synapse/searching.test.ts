import { describe, expect, inject, it } from 'vitest';
import { searching } from '../messages/support/searching.js';

describe('searching, on Synapse', () => {
  searching(it, expect, async () => inject('synapse'));
});
