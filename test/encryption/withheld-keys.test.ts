import { describe, expect, it } from 'vitest';
import { FakeHomeserver } from '../../src/testing/fake-homeserver/fake-homeserver.js';
import { withheldKeys } from './support/withheld-keys.js';

describe('devices that get no keys, on the fake homeserver', () => {
  withheldKeys(it, expect, async () => new FakeHomeserver());
});
