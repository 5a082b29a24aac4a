import { describe, expect, it } from 'vitest';
import { FakeHomeserver } from '../../src/testing/fake-homeserver/fake-homeserver.js';
import { files } from '../messages/support/files.js';

describe('files, on the fake homeserver', () => {
  files(it, expect, async () => new FakeHomeserver(), false);
});
