import { randomBytes } from 'node:crypto';
import type { DatabaseChange, KeyChange, StoredDatabase } from '../../../core/ports/key-store.js';
import type { InstalledGlobals } from './globals.js';
import { indexedDbOfApplication, installGlobals } from './globals.js';
import type { Factory, OpenRequest, RawDatabase, RawStore } from './raw-database.js';
import { indexedDbClasses, IDBFactory } from './raw-database.js';
import { TrackedDatabase } from './tracked-database.js';

/** The databases of one device, in memory for as long as its client runs. */
export interface Databases {
  /** The prefix of all their names. Never used twice, so that a stopped client cannot reach another client's keys. */
  readonly prefix: string;
  /** How many databases the SDK has opened or created. */
  readonly opened: number;
  /** Removes the databases from memory. Open connections can no longer read or write. Idempotent. */
  close(): void;
}

/** Called with each change before its transaction completes, like the `commit` of {@link TrackedDatabase}. */
export type Commit = (...change: KeyChange) => Promise<void> | undefined;

interface OpenDevice {
  readonly commit: Commit;
  readonly tracked: Map<string, TrackedDatabase>;
  /** Whether the databases that are created come from the store. */
  isRestoring: boolean;
  opened: number;
}

const PREFIX = 'mcm-crypto-';
const PREFIX_BYTES = 16;
/** The SDK puts it between the prefix and its own database name. */
const SEPARATOR = '::';

/** All open devices of the process by prefix, because there is only one `globalThis.indexedDB`. */
const openDevices = new Map<string, OpenDevice>();
let installed: InstalledGlobals | undefined;

/** Serves the databases of all open devices, and passes other names to the application's own IndexedDB. */
class DispatchingFactory extends IDBFactory {
  readonly #application: Factory | undefined;

  constructor(application: Factory | undefined) {
    super();
    this.#application = application;
    const databases = this._databases;
    databases.set = (name, raw) => {
      trackDatabase(name, raw);
      return Map.prototype.set.call(databases, name, raw) as typeof databases;
    };
  }

  override open(name: string, version?: number): OpenRequest {
    const device = openDeviceOf(name);
    if (!device) return this.#applicationFactory(name).open(name, version);
    device.opened++;
    return super.open(name, version);
  }

  override deleteDatabase(name: string): OpenRequest {
    return this.#applicationFactory(name).deleteDatabase(name);
  }

  override databases(): ReturnType<Factory['databases']> {
    return this.#application?.databases() ?? Promise.resolve([]);
  }

  rawStores(name: string): RawDatabase['rawObjectStores'] | undefined {
    return this._databases.get(name)?.rawObjectStores;
  }

  forget(name: string): void {
    this._databases.delete(name);
    this._connectionQueues.delete(name);
  }

  #applicationFactory(name: string): Factory {
    if (this.#application && !name.startsWith(PREFIX)) return this.#application;
    throw new DOMException(`no crypto store serves this call for the database ${name}`, 'InvalidStateError');
  }
}

let factory: DispatchingFactory | undefined;

/**
 * Restores a device's databases in memory, where the SDK finds them. The first device installs the globals that the
 * SDK's WebAssembly needs, and the last one removes them. Rejects with `UNSUPPORTED` if the process has another
 * implementation of IndexedDB.
 */
export async function openDatabases(stored: readonly StoredDatabase[], commit: Commit): Promise<Databases> {
  const deviceFactory = installFactory();
  const prefix = PREFIX + randomBytes(PREFIX_BYTES).toString('hex');
  const device: OpenDevice = { commit, tracked: new Map(), isRestoring: true, opened: 0 };
  openDevices.set(prefix, device);
  let closed = false;
  const close = (): void => {
    if (closed) return;
    closed = true;
    openDevices.delete(prefix);
    for (const [name, database] of device.tracked) {
      database.drop();
      deviceFactory.forget(name);
    }
    if (openDevices.size === 0) removeFactory();
  };
  try {
    for (const database of stored) await restore(deviceFactory, prefix + SEPARATOR + database.name, database);
    device.isRestoring = false;
    device.opened = 0;
    for (const database of device.tracked.values()) database.watch();
  } catch (error) {
    close();
    throw error;
  }
  return {
    prefix,
    get opened() {
      return device.opened;
    },
    close,
  };
}

/** Whether the SDK still finds these databases. An IndexedDB that replaced them would not store its keys. */
export function databasesReachable(): boolean {
  return installed?.intact() ?? false;
}

function installFactory(): DispatchingFactory {
  if (factory) return factory;
  const application = indexedDbOfApplication({ ...indexedDbClasses, indexedDB: IDBFactory });
  factory = new DispatchingFactory(application as Factory | undefined);
  installed = installGlobals({ ...indexedDbClasses, indexedDB: factory });
  return factory;
}

function removeFactory(): void {
  installed?.remove();
  installed = undefined;
  factory = undefined;
}

function openDeviceOf(name: string): OpenDevice | undefined {
  return openDevices.get(name.slice(0, name.indexOf(SEPARATOR)));
}

function trackDatabase(name: string, raw: RawDatabase): void {
  const device = openDeviceOf(name);
  const ownName = name.slice(name.indexOf(SEPARATOR) + SEPARATOR.length);
  const commit = (change: DatabaseChange): Promise<void> | undefined => {
    const device = openDeviceOf(name); // looked up for each change, because a closed device is removed
    if (!device) throw new DOMException(`the crypto store of the database ${name} is closed`, 'InvalidStateError');
    return device.commit(ownName, change);
  };
  const isRestoring = device?.isRestoring === true;
  const database = new TrackedDatabase(raw, commit, isRestoring);
  device?.tracked.set(name, database);
  if (!isRestoring) database.watch();
}

async function restore(factory: DispatchingFactory, name: string, { schema, records }: StoredDatabase): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    const request = factory.open(name, schema.version);
    request.addEventListener('upgradeneeded', () => {
      for (const { name: storeName, keyPath, indexes } of schema.stores) {
        const store = request.result.createObjectStore(storeName, { keyPath });
        addRecords(factory.rawStores(name)?.get(storeName), records.get(storeName));
        for (const { name, keyPath, multiEntry, unique } of indexes) {
          store.createIndex(name, keyPath, { multiEntry, unique });
        }
      }
    });
    request.addEventListener('success', () => {
      request.result.close();
      resolve();
    });
    request.addEventListener('error', () => reject(request.error ?? new Error('no error')));
  });
}

function addRecords(store: RawStore | undefined, records: readonly { key: string; value: unknown }[] = []): void {
  if (!store) throw new TypeError('fake-indexeddb does not keep its object stores where this library expects them');
  for (const { key, value } of records) store.storeRecord({ key, value }, true);
}
