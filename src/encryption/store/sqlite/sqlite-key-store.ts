import type { Clock } from '../../../core/clock.js';
import type { Context } from '../../../core/context.js';
import type { DeviceHandle, DeviceId, KeyChange, KeyStore, OpenDeviceOptions } from '../../../core/ports/key-store.js';
import { checkArgument } from '../../../core/validation.js';
import { fileOptions } from '../../../storage/sqlite-storage-options.js';
import { CommitQueue } from '../../../storage/sqlite/commit-queue.js';
import { createKeyring } from '../../../storage/sqlite/keyring.js';
import type { OpenDatabase } from '../../../storage/sqlite/open-database.js';
import { openDatabase } from '../../../storage/sqlite/open-database.js';
import { storageError } from '../../../storage/sqlite/sqlite-errors.js';
import { inTransaction } from '../../../storage/sqlite/statements.js';
import { Vault } from '../../../storage/sqlite/vault.js';
import { closedError } from '../../../storage/storage-errors.js';
import type { KeyFileOptions } from '../../encryption-options.js';
import { HeldDevices } from '../held-devices.js';
import { damagedError, rolledBackError } from '../key-failures.js';
import { CounterFile } from './counter-file.js';
import { CryptoFile, cryptoLayout } from './crypto-file.js';
import type { DeviceRow } from './crypto-file.js';
import { createDeviceKey, DeviceRecords, unwrapDeviceKey, wrapDeviceKey } from './device-records.js';

/**
 * The end-to-end keys of all users in one SQLite file, for one process at a time. Every record is encrypted with its
 * device's own key, which is encrypted with the secret. Changes of one turn of the event loop, of all devices, share one
 * transaction.
 */
export class SqliteKeyStore implements KeyStore {
  readonly #opened: OpenDatabase;
  readonly #file: CryptoFile;
  readonly #counters: CounterFile;
  readonly #held = new HeldDevices();
  readonly #queue: CommitQueue;
  #vault: Vault;
  #closing: Promise<void> | undefined;

  private constructor(clock: Clock, opened: OpenDatabase, counters: CounterFile) {
    const { database, sync, path } = opened;
    const toError = (error: unknown): Error => storageError('write', path, error);
    this.#queue = new CommitQueue({ database, clock, flushIntervalMs: 0, sync, toError });
    this.#opened = opened;
    this.#file = new CryptoFile(opened.database);
    this.#vault = opened.vault;
    this.#counters = counters;
  }

  /**
   * Opens or creates the file. Throws `STORAGE_LOCKED` if another process has it open, `INVALID_OPTIONS` for a wrong
   * secret or path, `STORAGE` if it cannot be used. A damaged file is moved aside; opening its devices then rejects with
   * `ENCRYPTION_STORE_ROLLED_BACK`.
   */
  static open(
    { clock, logger }: Pick<Context, 'clock' | 'logger'>,
    { path, secret, counterPath, onCorruption = () => {} }: KeyFileOptions,
  ): SqliteKeyStore {
    const opened = openDatabase({ path, secret, onCorruption, clock, logger }, cryptoLayout);
    try {
      const inMemory = opened.path === ':memory:';
      return new SqliteKeyStore(
        clock,
        opened,
        new CounterFile(counterPath ?? (inMemory ? undefined : `${opened.path}.counters`)),
      );
    } catch (error) {
      opened.close();
      throw error;
    }
  }

  async devicesOf(userId: string): Promise<string[]> {
    return this.#runOnFile(() => this.#file.devicesOf(userId)).map(({ device_id: deviceId }) => deviceId);
  }

  async openDevice(options: OpenDeviceOptions): Promise<DeviceHandle> {
    this.#assertOpen();
    const device = { userId: options.userId, deviceId: options.deviceId };
    return this.#held.hold(options, async () => {
      try {
        const { row, key } = this.#findOrCreateDevice(device);
        const records = new DeviceRecords(this.#file, row.id, device, key);
        const databases = await records.load();
        this.#assertOpen();
        return {
          key,
          commits: row.commits,
          restorePending: row.restore_pending === 1,
          databases,
          write: (changes, assertHeld) => this.#write(device, records, changes, assertHeld),
          setRestorePending: async (pending) => this.#changeNow(() => this.#file.setRestorePending(row.id, pending)),
          readSideRecord: async (name) => this.#runOnFile(() => records.readSideRecord(name)),
          writeSideRecord: (name, record, assertHeld) =>
            this.#writeSideRecord(device, records, [name, new Uint8Array(record)], assertHeld),
        };
      } catch (error) {
        throw this.#closing ? closedError() : storageError('use', this.#opened.path, error);
      }
    });
  }

  async forgetDevice(userId: string, deviceId: string): Promise<boolean> {
    this.#held.assertFree({ userId, deviceId });
    const row = this.#runOnFile(() => this.#findDevice({ userId, deviceId }));
    if (!row) return false;
    await this.#changeNow(() => this.#file.deleteDevice(row.id));
    return true;
  }

  async rotateSecret(secret: string | Uint8Array): Promise<void> {
    checkArgument('secret', fileOptions.secret, secret);
    const { keyring, dataKey } = createKeyring(secret);
    const next = new Vault(dataKey);
    const changing = this.#changeNow(() => {
      this.#file.setKeyring(keyring);
      for (const row of this.#file.allDevices()) {
        const device = { userId: row.user_id, deviceId: row.device_id };
        const key = unwrapDeviceKey(this.#vault, device, row.sealed_key);
        // An altered key stays as it is: opening its device reports it.
        if (key) this.#file.setKey(row.id, wrapDeviceKey(next, device, key));
      }
    });
    this.#vault = next; // before the wait: a device that is opened meanwhile needs it
    await changing;
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #close(): Promise<void> {
    await this.#held.releaseAll();
    await this.#queue.drain();
    try {
      this.#counters.close();
    } finally {
      this.#opened.close();
    }
  }

  async #write(
    { userId, deviceId }: DeviceId,
    records: DeviceRecords,
    changes: readonly KeyChange[],
    assertHeld: () => void,
  ): Promise<number> {
    const run = (): number => {
      assertHeld();
      return records.write(changes);
    };
    const commits = await this.#queue.add({ userId, durability: 'power', run });
    // After the commit is on disk: a crash in between leaves a lower count, which is not reported as a rollback. Before
    // the SDK continues: no message is sent with keys whose rollback would not be detected.
    this.#counters.raise(userId, deviceId, commits);
    return commits;
  }

  /** A killed process cannot lose the record, but a power failure can: it is on disk with the next commit. */
  #writeSideRecord(
    { userId }: DeviceId,
    records: DeviceRecords,
    record: readonly [name: string, record: Uint8Array],
    assertHeld: () => void,
  ): Promise<void> {
    let attempts = 0;
    const run = (): void => {
      assertHeld();
      if (attempts++ > 0) records.recountSideRecords(); // the first transaction was rolled back
      records.writeSideRecord(...record);
    };
    return this.#queue.add({ userId, durability: 'process', run }).catch((error: unknown) => {
      records.recountSideRecords();
      throw error;
    });
  }

  /** Changes the file in a transaction. Throws if that fails. @returns settles when the change is on disk */
  #changeNow(run: () => void): Promise<void> {
    const { database, sync = () => Promise.resolve(), path } = this.#opened;
    this.#runOnFile(() => inTransaction(database, run));
    return sync().catch((error: unknown) => {
      throw storageError('write', path, error);
    });
  }

  #findDevice({ userId, deviceId }: DeviceId): DeviceRow | undefined {
    return this.#file.devicesOf(userId).find(({ device_id }) => device_id === deviceId);
  }

  /** Returns the device's checked row and its key, or creates them for a new device. */
  #findOrCreateDevice(device: DeviceId): { row: DeviceRow; key: Buffer } {
    const { userId, deviceId } = device;
    const row = this.#findDevice(device);
    const notedCommits = this.#counters.get(userId, deviceId) ?? 0;
    if (notedCommits > (row?.commits ?? 0)) throw rolledBackError(device, row?.commits, notedCommits);
    if (row) {
      this.#counters.raise(userId, deviceId, row.commits);
      const key = unwrapDeviceKey(this.#vault, device, row.sealed_key);
      if (!key) throw damagedError(device, 'the key that encrypts them was altered');
      return { row, key };
    }
    const { key, sealedKey } = createDeviceKey(this.#vault, device);
    const id = this.#file.addDevice(userId, deviceId, sealedKey); // on disk with the first commit
    const newRow = { id, user_id: userId, device_id: deviceId, sealed_key: sealedKey, commits: 0, restore_pending: 0 };
    return { row: newRow, key };
  }

  #runOnFile<T>(run: () => T): T {
    this.#assertOpen();
    try {
      return run();
    } catch (error) {
      throw storageError('use', this.#opened.path, error);
    }
  }

  #assertOpen(): void {
    if (this.#closing) throw closedError();
  }
}
