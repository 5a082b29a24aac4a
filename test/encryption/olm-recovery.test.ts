import { describe, expect, it } from 'vitest';
import { FakeHomeserver } from '../../src/testing/fake-homeserver/fake-homeserver.js';
import { olmRecovery } from './support/olm-recovery.js';

describe('a device on a fake homeserver', () => {
  olmRecovery(it, expect, async () => new FakeHomeserver());
});
