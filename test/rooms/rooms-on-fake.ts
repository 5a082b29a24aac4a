import { afterEach } from 'vitest';
import type { MatrixClientManagerOptions } from '../../src/index.js';
import { managerOnFake } from '../support/manager-on-fake.js';

const open: AsyncDisposable[] = [];
afterEach(async () => {
  for (const one of open.splice(0)) await one[Symbol.asyncDispose]();
});

/** A manager on the fake homeserver that has the sessions of alice, bob and carol. Closed after the test. */
export async function roomsOnFake(options: Partial<MatrixClientManagerOptions> = {}) {
  const on = managerOnFake(options);
  open.push(on.manager, on.fake);
  const add = async (username: string): Promise<string> => {
    const user = on.fake.createUser({ username, displayName: username });
    await on.storage.setCredentials(user);
    return user.userId;
  };
  const [alice, bob, carol] = [await add('alice'), await add('bob'), await add('carol')];
  return { ...on, rooms: on.manager.rooms, add, alice, bob, carol };
}
