import { describe, expect, inject, it } from 'vitest';
import { identityResets } from '../encryption/support/identity-resets.js';
import {
  failedResets,
  identities,
  interruptedResets,
  interruptedSetUps,
  managedIdentities,
  trustPolicies,
} from '../encryption/support/identities.js';

const target = async () => inject('synapse');

describe('identities of users, on Synapse', () => {
  identities(it, expect, target);
});

describe('trust, on Synapse', () => {
  trustPolicies(it, expect, target);
});

describe('set-ups cut short, on Synapse', () => {
  interruptedSetUps(it, expect, target);
});

describe('resets refused or failed, on Synapse', () => {
  failedResets(it, expect, target);
});

describe('resets cut short, on Synapse', () => {
  interruptedResets(it, expect, target);
});

describe('identities of the users of a manager, on Synapse', () => {
  managedIdentities(it, expect, target);
});

describe('a reset of the identity, on Synapse', () => {
  identityResets(it, expect, target);
});
