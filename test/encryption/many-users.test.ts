import { describe, expect, it } from 'vitest';
import { FakeHomeserver } from '../../src/testing/fake-homeserver/fake-homeserver.js';
import { manyUsers } from './support/many-users.js';

describe('users with encryption', () => {
  manyUsers(it, expect, { pairs: 4, target: async () => new FakeHomeserver() });
});
