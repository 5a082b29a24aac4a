import { afterAll, beforeAll } from 'vitest';
import { FakeHomeserver } from '../../src/testing/index.js';
import { applicationRequests } from './application-requests.js';
import { personalData } from './personal-data.js';
import { connections } from './connections.js';
import { managerCallbacks } from './manager-callbacks.js';
import { presenceEvents } from './presence.js';
import { roomCalls } from './room-calls.js';
import { mainJob } from './main-job.js';
import { unreadRooms } from './unread.js';

const fake = new FakeHomeserver();
beforeAll(() => fake.listen());
afterAll(() => fake.close());

mainJob('the fake homeserver', () => ({ homeserverUrl: fake.baseUrl, admin: fake.admin }));
connections('the fake homeserver', () => ({ homeserverUrl: fake.baseUrl, admin: fake.admin }));
applicationRequests('the fake homeserver', () => ({ homeserverUrl: fake.baseUrl, admin: fake.admin }));
personalData('the fake homeserver', () => ({ homeserverUrl: fake.baseUrl, admin: fake.admin }));
roomCalls('the fake homeserver', () => ({ homeserverUrl: fake.baseUrl, admin: fake.admin }));
managerCallbacks('the fake homeserver', () => ({ homeserverUrl: fake.baseUrl, admin: fake.admin }));
unreadRooms('the fake homeserver', () => ({ homeserverUrl: fake.baseUrl, admin: fake.admin }));
presenceEvents('the fake homeserver', () => ({ homeserverUrl: fake.baseUrl, admin: fake.admin }));
