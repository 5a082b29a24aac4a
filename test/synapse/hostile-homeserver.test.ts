import { describe, expect, inject, it } from 'vitest';
import { hostileHomeserver } from '../encryption/support/hostile-homeserver.js';
import { lyingProxy } from '../encryption/support/event-lies.js';

describe('a hostile homeserver, Synapse behind a proxy,', () => {
  hostileHomeserver(it, expect, async () => lyingProxy(inject('synapse')));
});
