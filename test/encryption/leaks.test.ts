import { describe, expect, it } from 'vitest';
import { FakeHomeserver } from '../../src/testing/fake-homeserver/fake-homeserver.js';
import { comingsAndGoings } from './support/comings-and-goings.js';

describe('clients with encryption that come and go', () => {
  comingsAndGoings(it, expect, { rounds: 50, target: async () => new FakeHomeserver() });
});
