import { describe, expect, it } from 'vitest';
import { FakeHomeserver } from '../../src/testing/fake-homeserver/fake-homeserver.js';
import { identityResets } from './support/identity-resets.js';
import { failedResets, identities, interruptedResets, managedIdentities, trustPolicies } from './support/identities.js';

const target = async (): Promise<FakeHomeserver> => new FakeHomeserver();

describe('identities of users, on the fake homeserver', () => {
  identities(it, expect, target);
});

describe('trust, on the fake homeserver', () => {
  trustPolicies(it, expect, target);
});

describe('identities of the users of a manager, on the fake homeserver', () => {
  managedIdentities(it, expect, target);
});

describe('a reset of the identity, on the fake homeserver', () => {
  identityResets(it, expect, target);
});

describe('resets of the identity that the homeserver refuses or fails, on the fake homeserver', () => {
  failedResets(it, expect, target);
});

describe('an interrupted reset of the identity, on the fake homeserver', () => {
  interruptedResets(it, expect, target);
});
