import { deviceAdministration } from './homeserver/device-administration.js';
import { serverInfo } from './homeserver/server-info.js';
import { sessions } from './homeserver/sessions.js';
import type { HomeserverTarget } from './homeserver/target.js';
import type { TestApi } from './homeserver/test-api.js';
import { userAdministration } from './homeserver/user-administration.js';
import { World } from './homeserver/world.js';

export type { HomeserverTarget } from './homeserver/target.js';
export type { Expectation, TestApi } from './homeserver/test-api.js';

/**
 * What the library relies on in a homeserver, as tests over plain HTTP. Each of them was written against a real
 * Synapse, so a server or a fake that passes them all behaves like one where it matters here. Call it once, at the top
 * level of a test file, with the functions of the test runner.
 * @param target gives a running homeserver; asked once, when the first test runs
 */
export function homeserverContract(api: TestApi, target: () => Promise<HomeserverTarget>): void {
  let made: Promise<World> | undefined;
  const world = (): Promise<World> => (made ??= target().then((ready) => new World(ready)));
  const suite = { ...api, world };
  for (const part of [serverInfo, userAdministration, deviceAdministration, sessions]) part(suite);
}
