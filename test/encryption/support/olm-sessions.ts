import { systemClock } from '../../../src/core/clock.js';
import { silentLogger } from '../../../src/core/logger.js';
import type { DeviceHandle, DeviceId, KeyChange } from '../../../src/core/ports/key-store.js';
import { SqliteKeyStore } from '../../../src/encryption/store/sqlite/sqlite-key-store.js';

/** The Olm sessions of one device, as a key file has them. */
type Sessions = readonly { readonly database: string; readonly records: readonly { key: string; value: unknown }[] }[];

const OBJECT_STORE = 'session';
const secret = new Uint8Array(32).fill(7);

/** Reads the Olm sessions of a device in a key file that no manager has open. */
export async function readOlmSessions(path: string, device: DeviceId): Promise<Sessions> {
  return withDevice(path, device, async ({ databases }) => sessionsIn(databases));
}

/** Deletes the Olm sessions of a device, and puts others in their place. @param sessions - none by default */
export async function replaceOlmSessions(path: string, device: DeviceId, sessions: Sessions = []): Promise<number> {
  return withDevice(path, device, async (handle) => {
    const present = sessionsIn(handle.databases);
    const changes: KeyChange[] = [
      ...present.map(({ database, records }): KeyChange => [
        database,
        { records: records.map(({ key }) => ({ store: OBJECT_STORE, key })) },
      ]),
      ...sessions.map(({ database, records }): KeyChange => [
        database,
        { records: records.map(({ key, value }) => ({ store: OBJECT_STORE, key, present: { value } })) },
      ]),
    ];
    await handle.commit(changes);
    return present.flatMap(({ records }) => records).length;
  });
}

function sessionsIn(databases: DeviceHandle['databases']): Sessions {
  return databases.map(({ name, records }) => ({ database: name, records: records.get(OBJECT_STORE) ?? [] }));
}

async function withDevice<T>(path: string, device: DeviceId, use: (handle: DeviceHandle) => Promise<T>): Promise<T> {
  await using keys = SqliteKeyStore.open({ clock: systemClock, logger: silentLogger }, { path, secret });
  const handle = await keys.openDevice(device);
  try {
    return await use(handle);
  } finally {
    await handle.release();
  }
}
