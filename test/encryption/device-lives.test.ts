import { describe, expect, it } from 'vitest';
import { FakeHomeserver } from '../../src/testing/fake-homeserver/fake-homeserver.js';
import { deviceLives } from './support/device-lives.js';

describe('devices with encryption', () => {
  deviceLives(it, expect, async () => new FakeHomeserver());
});
