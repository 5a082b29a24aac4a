import { randomBytes } from 'node:crypto';
import type { InstalledGlobals } from './globals.js';
import { indexedDbOfApplication, installGlobals } from './globals.js';
import type { Factory, OpenRequest, RawDatabase, RawStore } from './raw-database.js';
import { classes, IDBFactory } from './raw-database.js';
import type { DatabaseChange, DatabaseSchema } from './tracked-database.js';
import { TrackedDatabase } from './tracked-database.js';

/** A database as it was committed last. */
export interface StoredDatabase {
  /** What follows the prefix in its name. */
  readonly name: string;
  readonly schema: DatabaseSchema;
  /** By store, its records. */
  readonly records: ReadonlyMap<string, readonly { readonly key: string; readonly value: unknown }[]>;
}

/** The databases of one device, in memory for as long as its client runs. */
export interface Databases {
  /** The names of all of them begin with it. Never the same twice, so that what outlives a client reaches no other. */
  readonly prefix: string;
  /** How many databases have been opened or made by the SDK. */
  readonly opened: number;
  /** Forgets them. What is still connected reads nothing and writes nothing from then on. Idempotent. */
  close(): void;
}

/** Called with each change before it is complete; it is taken back where this throws. */
export type Commit = (databaseName: string, change: DatabaseChange) => void;

interface Tenant {
  readonly commit: Commit;
  readonly tracked: Map<string, TrackedDatabase>;
  opened: number;
}

const PREFIX = 'mcm-crypto-';
const PREFIX_BYTES = 16;
/** The SDK puts it between the prefix and a name of its own. */
const SEPARATOR = '::';

/** Every device of the process that has its databases open, by prefix: there is only one `globalThis.indexedDB`. */
const tenants = new Map<string, Tenant>();
let installed: InstalledGlobals | undefined;

/** Serves the databases of all open devices; what is none of ours goes where it went before. */
class DispatchingFactory extends IDBFactory {
  readonly #application: Factory | undefined;

  constructor(application: Factory | undefined) {
    super();
    this.#application = application;
    const databases = this._databases;
    databases.set = (name, raw) => {
      adopt(name, raw);
      return Map.prototype.set.call(databases, name, raw) as typeof databases;
    };
  }

  override open(name: string, version?: number): OpenRequest {
    const tenant = tenantOf(name);
    if (!tenant) return this.#elsewhere(name).open(name, version);
    tenant.opened++;
    return super.open(name, version);
  }

  override deleteDatabase(name: string): OpenRequest {
    return this.#elsewhere(name).deleteDatabase(name);
  }

  override databases(): ReturnType<Factory['databases']> {
    return this.#application?.databases() ?? Promise.resolve([]);
  }

  forget(name: string): void {
    this._databases.delete(name);
    this._connectionQueues.delete(name);
  }

  #elsewhere(name: string): Factory {
    if (this.#application && !name.startsWith(PREFIX)) return this.#application;
    throw new DOMException(`no crypto store serves the database ${name} this way`, 'InvalidStateError');
  }
}

let factory: DispatchingFactory | undefined;

/**
 * Makes a device's databases again in memory, and lets the SDK find them. The first device puts the globals in place
 * that the SDK's WebAssembly needs, and the last one takes them away. Throws `UNSUPPORTED` where the process has an
 * IndexedDB of another make.
 */
export async function openDatabases(stored: readonly StoredDatabase[], commit: Commit): Promise<Databases> {
  const ours = enter();
  const prefix = PREFIX + randomBytes(PREFIX_BYTES).toString('hex');
  const tenant: Tenant = { commit, tracked: new Map(), opened: 0 };
  tenants.set(prefix, tenant);
  let closed = false;
  const close = (): void => {
    if (closed) return;
    closed = true;
    tenants.delete(prefix);
    for (const [name, database] of tenant.tracked) {
      database.drop();
      ours.forget(name);
    }
    if (tenants.size === 0) leave();
  };
  try {
    for (const database of stored) await restore(ours, prefix + SEPARATOR + database.name, database);
    tenant.opened = 0;
    for (const database of tenant.tracked.values()) database.watch();
  } catch (error) {
    close();
    throw error;
  }
  return {
    prefix,
    get opened() {
      return tenant.opened;
    },
    close,
  };
}

/** Whether the SDK still finds our databases: another IndexedDB in their place would forget every key. */
export function databasesReachable(): boolean {
  return installed?.intact() ?? false;
}

function enter(): DispatchingFactory {
  if (factory) return factory;
  const application = indexedDbOfApplication({ ...classes, indexedDB: IDBFactory });
  factory = new DispatchingFactory(application as Factory | undefined);
  installed = installGlobals({ ...classes, indexedDB: factory });
  return factory;
}

function leave(): void {
  installed?.remove();
  installed = undefined;
  factory = undefined;
}

function tenantOf(name: string): Tenant | undefined {
  return tenants.get(name.slice(0, name.indexOf(SEPARATOR)));
}

function adopt(name: string, raw: RawDatabase): void {
  const tenant = tenantOf(name);
  const ownName = name.slice(name.indexOf(SEPARATOR) + SEPARATOR.length);
  const restored = restoring.get(name);
  const commit = (change: DatabaseChange): void => {
    const tenant = tenantOf(name); // looked up anew: it is gone once the device is closed
    if (!tenant) throw new DOMException(`the crypto store of the database ${name} is closed`, 'InvalidStateError');
    tenant.commit(ownName, change);
  };
  const database = new TrackedDatabase(raw, commit, restored !== undefined);
  tenant?.tracked.set(name, database);
  if (restored) restored(raw);
  else database.watch();
}

/** Databases that are being made again, each with what wants to know what is behind it. */
const restoring = new Map<string, (raw: RawDatabase) => void>();

async function restore(factory: DispatchingFactory, name: string, { schema, records }: StoredDatabase): Promise<void> {
  let raw: RawDatabase | undefined;
  restoring.set(name, (database) => (raw = database));
  try {
    await new Promise<void>((resolve, reject) => {
      const request = factory.open(name, schema.version);
      request.addEventListener('upgradeneeded', () => {
        for (const { name, keyPath, indexes } of schema.stores) {
          const store = request.result.createObjectStore(name, { keyPath });
          fill(raw?.rawObjectStores.get(name), records.get(name));
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
  } finally {
    restoring.delete(name);
  }
}

function fill(store: RawStore | undefined, records: readonly { key: string; value: unknown }[] = []): void {
  if (!store) throw new TypeError('fake-indexeddb keeps its stores elsewhere than this library expects');
  for (const { key, value } of records) store.storeRecord({ key, value }, true);
}
