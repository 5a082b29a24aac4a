import { afterAll, beforeAll } from 'vitest';
import { FakeHomeserver } from '../../src/testing/index.js';
import { unreadLives } from './unread-lives.js';

const fake = new FakeHomeserver();
beforeAll(() => fake.listen());
afterAll(() => fake.close());

unreadLives('the fake homeserver', () => ({ homeserverUrl: fake.baseUrl, admin: fake.admin }), 10);
