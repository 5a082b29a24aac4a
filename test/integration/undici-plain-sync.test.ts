import { afterAll, beforeAll } from 'vitest';
import { FakeHomeserver } from '../../src/testing/index.js';
import { undiciTransport } from '../../src/undici/index.js';
import { mainJob } from './main-job.js';

const fake = new FakeHomeserver();
beforeAll(() => fake.listen());
afterAll(() => fake.close());

mainJob('the fake homeserver, over undici and without sliding sync', () => ({
  homeserverUrl: fake.baseUrl,
  admin: fake.admin,
  transport: undiciTransport(),
  slidingSync: false,
}));
