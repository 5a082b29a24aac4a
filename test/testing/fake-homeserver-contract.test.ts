import { describe, expect, it } from 'vitest';
import { homeserverContract } from '../../src/testing/contracts/homeserver-contract.js';
import { FakeHomeserver } from '../../src/testing/fake-homeserver/fake-homeserver.js';

// on a port the contract is run elsewhere; here nothing but functions lies between the suite and the homeserver
homeserverContract({ describe, it, expect }, async () => {
  const { baseUrl, serverName, admin, fetch } = new FakeHomeserver({ onUnhandled: 'record' });
  return { baseUrl, serverName, admin, fetch };
});
