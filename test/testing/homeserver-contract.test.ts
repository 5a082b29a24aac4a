import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { homeserverContract } from '../../src/testing/contracts/homeserver-contract.js';
import { FakeHomeserver } from '../../src/testing/fake-homeserver/fake-homeserver.js';

const fake = new FakeHomeserver();
beforeAll(() => fake.listen());
afterAll(() => fake.close());

homeserverContract({ describe, it, expect }, async () => ({
  baseUrl: fake.baseUrl,
  serverName: fake.serverName,
  admin: fake.admin,
}));
