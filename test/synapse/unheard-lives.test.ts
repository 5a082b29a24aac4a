import { describe, expect, inject, it } from 'vitest';
import { unheardLives } from '../encryption/support/unheard-lives.js';

describe('encrypted messages while nobody listens, on Synapse', () => {
  unheardLives(it, expect, async () => inject('synapse'));
});
