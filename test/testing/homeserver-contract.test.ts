import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { homeserverContract } from '../../src/testing/contracts/homeserver-contract.js';
import { FakeHomeserver } from '../../src/testing/fake-homeserver/fake-homeserver.js';

describe.each([false, true])('FakeHomeserver, with state after the timeline: %s', (stateAfter) => {
  const fake = new FakeHomeserver({ stateAfter });
  beforeAll(() => fake.listen());
  afterAll(() => fake.close());

  homeserverContract({ describe, it, expect }, async () => ({
    baseUrl: fake.baseUrl,
    serverName: fake.serverName,
    admin: fake.admin,
    stateAfter,
  }));
});
