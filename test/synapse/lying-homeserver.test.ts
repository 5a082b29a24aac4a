import { describe, expect, inject, it } from 'vitest';
import { lyingHomeserver } from '../encryption/support/lying-homeserver.js';

describe('a lying homeserver, Synapse behind a proxy,', () => {
  lyingHomeserver(it, expect, async () => inject('synapse'));
});
