import { accountData } from './homeserver/account-data.js';
import { concurrentSenders } from './homeserver/concurrent-senders.js';
import { crossSigningKeys } from './homeserver/cross-signing.js';
import { deviceAdministration } from './homeserver/device-administration.js';
import { deviceLists } from './homeserver/device-lists.js';
import { endToEndKeys } from './homeserver/end-to-end-keys.js';
import { ephemeralEvents } from './homeserver/ephemeral.js';
import { keyBackups } from './homeserver/key-backups.js';
import { media } from './homeserver/media.js';
import { messages } from './homeserver/messages.js';
import { relations } from './homeserver/relations.js';
import { roomAdministration } from './homeserver/room-administration.js';
import { rooms } from './homeserver/rooms.js';
import { search } from './homeserver/search.js';
import { sending } from './homeserver/sending.js';
import { serverInfo } from './homeserver/server-info.js';
import { sessions } from './homeserver/sessions.js';
import { slidingSync } from './homeserver/sliding-sync.js';
import { syncGaps } from './homeserver/sync-gaps.js';
import { syncMemberships } from './homeserver/sync-memberships.js';
import { sync } from './homeserver/sync.js';
import { toDevice } from './homeserver/to-device.js';
import type { HomeserverTarget } from './homeserver/target.js';
import type { TestApi } from './homeserver/test-api.js';
import { userAdministration } from './homeserver/user-administration.js';
import { World } from './homeserver/world.js';

export type { HomeserverTarget } from './homeserver/target.js';
export type { Expectation, TestApi } from './homeserver/test-api.js';

const parts = [
  serverInfo,
  userAdministration,
  deviceAdministration,
  sessions,
  rooms,
  roomAdministration,
  sending,
  sync,
  syncGaps,
  syncMemberships,
  slidingSync,
  ephemeralEvents,
  accountData,
  relations,
  messages,
  search,
  endToEndKeys,
  crossSigningKeys,
  deviceLists,
  toDevice,
  keyBackups,
  media,
  concurrentSenders,
];

/**
 * Defines tests over plain HTTP for everything that the library needs from a homeserver. All of them pass on a real
 * Synapse. Call it once, at the top level of a test file, with the functions of the test runner.
 * @param target - returns a running homeserver; called once, when the first test runs
 */
export function homeserverContract(api: TestApi, target: () => Promise<HomeserverTarget>): void {
  let created: Promise<World> | undefined;
  const world = (): Promise<World> => (created ??= target().then((homeserver) => new World(homeserver)));
  for (const part of parts) part({ ...api, world });
}
