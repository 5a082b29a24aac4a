import { describe, expect, it } from 'vitest';
import { FakeHomeserver } from '../../src/testing/fake-homeserver/fake-homeserver.js';
import { unheardLives } from './support/unheard-lives.js';

describe('encrypted messages while nobody listens', () => {
  unheardLives(it, expect, async () => new FakeHomeserver());
});
