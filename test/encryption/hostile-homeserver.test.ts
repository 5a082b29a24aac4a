import { describe, expect, it } from 'vitest';
import { hostileHomeserver } from './support/hostile-homeserver.js';
import { lyingFake } from './support/event-lies.js';

describe('a hostile homeserver, the fake one,', () => {
  hostileHomeserver(it, expect, lyingFake);
});
