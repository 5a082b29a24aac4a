import { describe, expect, it } from 'vitest';
import { FakeHomeserver } from '../../src/testing/fake-homeserver/fake-homeserver.js';
import { lyingHomeserver } from './support/lying-homeserver.js';

describe('a lying homeserver, fake,', () => {
  lyingHomeserver(it, expect, async () => new FakeHomeserver());
});
