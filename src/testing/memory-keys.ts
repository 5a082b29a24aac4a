import { createHash, randomBytes } from 'node:crypto';
import { deserialize, serialize } from 'node:v8';
import { invalidOptions, MatrixClientManagerError } from '../core/errors.js';
import { nextEventLoopTurn } from '../core/event-loop.js';
import { ownedElsewhere } from '../core/ports/claim.js';
import { SIDE_RECORDS_KEPT } from '../core/ports/key-store.js';
import { RecentMap } from '../core/recent-map.js';
import type { Claim } from '../core/ports/claim.js';
import type {
  DatabaseSchema,
  DeviceHandle,
  DeviceId,
  KeyChange,
  KeyStore,
  OpenDeviceOptions,
  StoredDatabase,
} from '../core/ports/key-store.js';
import { checkArgument } from '../core/validation.js';
import { fileOptions } from '../storage/sqlite-storage-options.js';
import { closedError } from '../storage/storage-errors.js';
import { HeldDevices } from '../encryption/store/held-devices.js';
import type { Holds } from '../encryption/store/held-devices.js';
import { rolledBackError } from '../encryption/store/key-failures.js';

interface MemoryDatabase {
  readonly schema: DatabaseSchema;
  /** Serialized records by store and key. */
  readonly records: Map<string, Buffer>;
}

interface MemoryDevice {
  readonly key: Buffer;
  commits: number;
  restorePending: boolean;
  databases: ReadonlyMap<string, MemoryDatabase>;
  readonly received: RecentMap<Uint8Array>;
}

const KEY_BYTES = 32;

/** What the stores on the same data share. */
interface SharedState {
  secretHash: string | undefined;
  holds: Holds;
  /** By user id, then by device id. */
  readonly devices: Map<string, Map<string, MemoryDevice>>;
  /** Numbers of commits by user and device id, also of forgotten devices. */
  readonly commits: Map<string, number>;
  /** The epoch of the last claim that a device was opened with, by user id. */
  readonly epochs: Map<string, number>;
  /** Counts the kills. A store that was opened before the last one stores nothing more. */
  kills: number;
}

/** Keys in memory, for tests. Several key stores may be open on them, as several processes on a database. */
export class MemoryKeys {
  readonly #state: SharedState = {
    secretHash: undefined,
    holds: new Map(),
    devices: new Map(),
    commits: new Map(),
    epochs: new Map(),
    kills: 0,
  };

  /**
   * Opens a key store. Its commits take a turn of the event loop, as those of a database take time. Rejects with
   * `INVALID_OPTIONS` if an earlier store had another secret.
   * @param secret - 32 bytes, or a string of at least 16 characters
   */
  async open(secret: string | Uint8Array): Promise<KeyStore> {
    checkArgument('secret', fileOptions.secret, secret);
    this.#state.secretHash ??= hashOf(secret);
    if (this.#state.secretHash !== hashOf(secret)) {
      throw invalidOptions('MemoryKeys: the secret is not that of the stored keys');
    }
    return new MemoryKeyStore(this.#state);
  }

  /** Ends the open stores as if their process was killed. What they have not stored yet is lost. */
  kill(): void {
    this.#state.kills++;
    this.#state.holds = new Map();
  }
}

class MemoryKeyStore implements KeyStore {
  readonly #state: SharedState;
  readonly #kills: number;
  readonly #held: HeldDevices;
  #closing: Promise<void> | undefined;

  constructor(state: SharedState) {
    this.#state = state;
    this.#kills = state.kills;
    this.#held = new HeldDevices(state.holds);
  }

  async devicesOf(userId: string): Promise<string[]> {
    this.#assertOpen();
    return [...(this.#state.devices.get(userId)?.keys() ?? [])];
  }

  async openDevice(device: OpenDeviceOptions): Promise<DeviceHandle> {
    this.#assertOpen();
    const { userId, claim } = device;
    return this.#held.hold(device, async () => {
      if (claim) this.#state.epochs.set(userId, claim.epoch);
      const found = this.#findOrCreate(device);
      await nextEventLoopTurn();
      this.#assertOpen();
      return {
        key: found.key,
        commits: found.commits,
        restorePending: found.restorePending,
        databases: [...found.databases].map(([name, database]) => read(name, database)),
        write: async (changes) => {
          const databases = changed(found.databases, changes);
          await this.#writing(claim);
          found.databases = databases;
          found.commits++;
          this.#state.commits.set(idOf(device), found.commits);
          return found.commits;
        },
        setRestorePending: async (pending) => {
          await this.#writing(claim);
          found.restorePending = pending;
        },
        readSideRecord: async (name) => found.received.get(name),
        writeSideRecord: async (name, record) => {
          const copy = new Uint8Array(record);
          await this.#writing(claim);
          found.received.set(name, copy);
        },
      };
    });
  }

  async forgetDevice(userId: string, deviceId: string): Promise<boolean> {
    this.#assertOpen();
    this.#held.assertFree({ userId, deviceId });
    return this.#state.devices.get(userId)?.delete(deviceId) ?? false;
  }

  async rotateSecret(secret: string | Uint8Array): Promise<void> {
    checkArgument('secret', fileOptions.secret, secret);
    this.#assertOpen();
    this.#state.secretHash = hashOf(secret);
  }

  close(): Promise<void> {
    this.#closing ??= this.#held.releaseAll();
    return this.#closing;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  #findOrCreate(device: DeviceId): MemoryDevice {
    const { userId, deviceId } = device;
    const devices = this.#state.devices.get(userId) ?? new Map<string, MemoryDevice>();
    const found = devices.get(deviceId);
    const noted = this.#state.commits.get(idOf(device)) ?? 0;
    if (noted > (found?.commits ?? 0)) throw rolledBackError(device, found?.commits, noted);
    if (found) return found;
    const key = randomBytes(KEY_BYTES);
    const received = new RecentMap<Uint8Array>(SIDE_RECORDS_KEPT);
    const created: MemoryDevice = { key, commits: 0, restorePending: false, databases: new Map(), received };
    this.#state.devices.set(userId, devices.set(deviceId, created));
    return created;
  }

  /** Takes the time of a write. Rejects if the process was killed meanwhile, or if another one has taken the user. */
  async #writing(claim: Claim | undefined): Promise<void> {
    await nextEventLoopTurn();
    if (claim && claim.epoch < (this.#state.epochs.get(claim.userId) ?? 0)) throw ownedElsewhere(claim.userId);
    if (this.#state.kills !== this.#kills) throw new MatrixClientManagerError('STORAGE', 'the process was killed');
  }

  #assertOpen(): void {
    if (this.#closing || this.#state.kills !== this.#kills) throw closedError();
  }
}

function changed(
  databases: ReadonlyMap<string, MemoryDatabase>,
  changes: readonly KeyChange[],
): ReadonlyMap<string, MemoryDatabase> {
  const result = new Map(databases);
  for (const [name, { schema, records }] of changes) {
    const before = schema ? { schema, records: new Map<string, Buffer>() } : result.get(name);
    if (!before) throw new MatrixClientManagerError('STORAGE', `the key store does not know the database ${name}`);
    const after = { schema: before.schema, records: new Map(before.records) };
    for (const { store, key, present } of records) {
      const place = JSON.stringify([store, key]);
      if (present) after.records.set(place, serialized(present.value));
      else after.records.delete(place);
    }
    result.set(name, after);
  }
  return result;
}

function serialized(value: unknown): Buffer {
  try {
    return serialize(value);
  } catch (error) {
    throw new MatrixClientManagerError('STORAGE', 'a record cannot be stored', { cause: error });
  }
}

function read(name: string, { schema, records }: MemoryDatabase): StoredDatabase {
  const byStore = new Map<string, { key: string; value: unknown }[]>(schema.stores.map(({ name }) => [name, []]));
  for (const [place, value] of records) {
    const [store = '', key = ''] = JSON.parse(place) as string[];
    byStore.get(store)?.push({ key, value: deserialize(value) });
  }
  return { name, schema, records: byStore };
}

function idOf({ userId, deviceId }: DeviceId): string {
  return JSON.stringify([userId, deviceId]);
}

function hashOf(secret: string | Uint8Array): string {
  return createHash('sha256').update(secret).digest('hex');
}
