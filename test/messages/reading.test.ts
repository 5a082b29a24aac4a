import { describe, expect, it } from 'vitest';
import { FakeHomeserver } from '../../src/testing/fake-homeserver/fake-homeserver.js';
import { reading } from './support/reading.js';

describe('reading a room, on the fake homeserver', () => {
  reading(it, expect, async () => new FakeHomeserver());
});
