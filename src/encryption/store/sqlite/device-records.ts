import { randomBytes } from 'node:crypto';
import { deserialize, serialize } from 'node:v8';
import { MatrixClientManagerError } from '../../../core/errors.js';
import { nextEventLoopTurn } from '../../../core/event-loop.js';
import { SIDE_RECORDS_KEPT } from '../../../core/ports/key-store.js';
import type {
  DatabaseChange,
  DatabaseSchema,
  DeviceId,
  KeyChange,
  StoredDatabase,
} from '../../../core/ports/key-store.js';
import { Vault } from '../../../storage/sqlite/vault.js';
import { damagedError } from '../key-failures.js';
import type { CryptoFile, SealedRow } from './crypto-file.js';

const KEY_BYTES = 32;
/** Number of records that are decrypted in one turn of the event loop; takes about 5 ms. */
const RECORDS_PER_TURN = 500;
/** How many of the oldest side records are deleted at a time. */
const SIDE_RECORDS_DELETED = 1_000;

/** Creates the 32 random bytes that encrypt a device's records, and their encrypted form for the file. */
export function createDeviceKey(vault: Vault, device: DeviceId): { key: Buffer; sealedKey: Buffer } {
  const key = randomBytes(KEY_BYTES);
  return { key, sealedKey: wrapDeviceKey(vault, device, key) };
}

export function wrapDeviceKey(vault: Vault, device: DeviceId, key: Uint8Array): Buffer {
  return vault.seal(keyLocation(vault, device), key);
}

/** Returns the device key, or undefined if it was altered or belongs to another device. */
export function unwrapDeviceKey(vault: Vault, device: DeviceId, sealedKey: unknown): Buffer | undefined {
  return vault.unsealBytes(keyLocation(vault, device), sealedKey);
}

function keyLocation(vault: Vault, { userId, deviceId }: DeviceId) {
  return { userId, kind: 'deviceKey', index: vault.index(userId, deviceId) };
}

/** Reads and writes the encrypted databases of one device. */
export class DeviceRecords {
  readonly #file: CryptoFile;
  readonly #row: number;
  readonly #device: DeviceId;
  readonly #vault: Vault;
  readonly #databases = new Map<string, number>();
  /** Number of side records; undefined before the first one is written. */
  #sideRecordCount: number | undefined;

  /** @param row - id of the device's row in the file */
  constructor(file: CryptoFile, row: number, device: DeviceId, key: Uint8Array) {
    this.#file = file;
    this.#row = row;
    this.#device = device;
    this.#vault = new Vault(key);
  }

  /**
   * Rejects with `ENCRYPTION_STORE_DAMAGED` if any record was altered, because a device needs all of its keys; with
   * another error if this version of Node cannot deserialize one. Omits records of an object store that the database's
   * schema does not have.
   */
  async load(): Promise<StoredDatabase[]> {
    const databases: StoredDatabase[] = [];
    for (const row of this.#file.databasesOf(this.#row)) {
      const [name, schema] = this.#unseal('database', row) as [string, DatabaseSchema];
      this.#databases.set(name, row.id);
      const records = new Map<string, { key: string; value: unknown }[]>(schema.stores.map(({ name }) => [name, []]));
      for (const [i, row] of this.#file.recordsOf(this.#databases.get(name) ?? 0).entries()) {
        if (i % RECORDS_PER_TURN === RECORDS_PER_TURN - 1) await nextEventLoopTurn();
        const [store, key, value] = this.#unseal('record', row) as [string, string, unknown];
        records.get(store)?.push({ key, value });
      }
      databases.push({ name, schema, records });
    }
    return databases;
  }

  /** Writes the changes in order, inside the caller's transaction. @returns the device's number of commits */
  write(changes: readonly KeyChange[]): number {
    for (const [name, change] of changes) this.#writeChange(name, change);
    return this.#file.incrementCommits(this.#row);
  }

  /** Throws `ENCRYPTION_STORE_DAMAGED` if the record was altered. */
  readSideRecord(name: string): Uint8Array | undefined {
    const index = this.#sideRecordIndex(name);
    const sealed = this.#file.findSideRecord(this.#row, index);
    if (!sealed) return undefined;
    const record = this.#vault.unsealBytes({ userId: this.#device.userId, kind: 'received', index }, sealed);
    if (record) return record;
    const { userId, deviceId } = this.#device;
    const message = `a side record of ${userId} on device ${deviceId} was altered`;
    throw new MatrixClientManagerError('ENCRYPTION_STORE_DAMAGED', message, { userId });
  }

  /** Writes the record inside the caller's transaction, and deletes the oldest ones of too many. */
  writeSideRecord(name: string, record: Uint8Array): void {
    const index = this.#sideRecordIndex(name);
    const sealed = this.#vault.seal({ userId: this.#device.userId, kind: 'received', index }, record);
    this.#sideRecordCount ??= this.#file.countSideRecords(this.#row);
    if (this.#file.putSideRecord(this.#row, index, sealed)) this.#sideRecordCount++;
    if (this.#sideRecordCount <= SIDE_RECORDS_KEPT + SIDE_RECORDS_DELETED) return;
    this.#file.deleteOldestSideRecords(this.#row, SIDE_RECORDS_DELETED);
    this.#sideRecordCount -= SIDE_RECORDS_DELETED;
  }

  /** Call it after a transaction that was rolled back. */
  recountSideRecords(): void {
    this.#sideRecordCount = undefined;
  }

  #sideRecordIndex(name: string): Buffer {
    return this.#vault.index(this.#device.userId, JSON.stringify(['received', name]));
  }

  #writeChange(name: string, { schema, records }: DatabaseChange): void {
    if (schema) this.#replaceDatabase(name, schema);
    const database = this.#databases.get(name);
    if (database === undefined) throw new Error(`the crypto store does not know the database ${name}`);
    for (const { store, key, present } of records) {
      const index = this.#index(name, store, key);
      if (present) this.#file.putRecord(database, index, this.#seal('record', index, [store, key, present.value]));
      else this.#file.deleteRecord(database, index);
    }
  }

  #replaceDatabase(name: string, schema: DatabaseSchema): void {
    const index = this.#index(name);
    const id = this.#file.putDatabase(this.#row, index, this.#seal('database', index, [name, schema]));
    this.#databases.set(name, id);
    this.#file.deleteRecords(id);
  }

  #index(...path: string[]): Buffer {
    return this.#vault.index(this.#device.userId, JSON.stringify(path));
  }

  #seal(kind: string, index: Uint8Array, content: unknown): Buffer {
    return this.#vault.seal({ userId: this.#device.userId, kind, index }, serialize(content));
  }

  #unseal(kind: string, { idx: index, sealed }: SealedRow): unknown {
    const content = this.#vault.unsealBytes({ userId: this.#device.userId, kind, index }, sealed);
    if (!content) throw damagedError(this.#device, 'a stored record was altered');
    return deserialize(content);
  }
}
