import type { Claim } from '../../core/ports/claim.js';
import type { DatabaseSchema, DeviceHandle, KeyChange, KeyStore } from '../../core/ports/key-store.js';
import { MemoryClaims } from '../memory-claims.js';
import type { ContractApi } from './storage-contract.js';

/** An empty key store under test. */
export interface OpenedKeyStore {
  readonly keys: KeyStore;
  /** Opens another store on the same data, as another process does. The earlier one may still be open. */
  readonly open: (secret: Uint8Array) => Promise<KeyStore>;
  /** Opens a store on the data that the process would leave if it was killed now. The earlier one is not used again. */
  readonly kill: () => Promise<KeyStore>;
}

const secret = new Uint8Array(32).fill(7);
const alice = { userId: '@alice:example.org', deviceId: 'DEVICEA' };
const bob = { userId: '@bob:example.org', deviceId: 'DEVICEB' };
const newDevice = { ...alice, deviceId: 'DEVICEC' };
const schema: DatabaseSchema = {
  version: 2,
  stores: [
    {
      name: 'sessions',
      keyPath: null,
      indexes: [{ name: 'by_room', keyPath: 'room', multiEntry: false, unique: false }],
    },
    { name: 'account', keyPath: null, indexes: [] },
  ],
};

function create(database: string): KeyChange {
  return [database, { schema, records: [] }];
}

function put(database: string, key: string, value: unknown): KeyChange {
  return [database, { records: [{ store: 'sessions', key, present: { value } }] }];
}

function remove(database: string, key: string): KeyChange {
  return [database, { records: [{ store: 'sessions', key }] }];
}

function record(...bytes: number[]): Uint8Array {
  return new Uint8Array(bytes);
}

async function read(device: DeviceHandle, name: string): Promise<number[] | undefined> {
  const found = await device.readSideRecord(name);
  return found && [...found];
}

/** The records of the object store `sessions` in each database. */
function contentOf({ databases }: DeviceHandle): Record<string, Record<string, unknown>> {
  return Object.fromEntries(
    databases.map(({ name, records }) => [
      name,
      Object.fromEntries((records.get('sessions') ?? []).map(({ key, value }) => [key, value])),
    ]),
  );
}

/**
 * Defines the tests that every `KeyStore` has to pass. This file is long because authors of a key store read the whole
 * contract in one place.
 * @param open - opens an empty key store with the secret; called once per test
 */
export function keyStoreContract(
  { describe, it, expect }: ContractApi,
  open: (secret: Uint8Array) => Promise<OpenedKeyStore>,
): void {
  interface Context {
    readonly keys: KeyStore;
    /** Closes the store that was opened last, and opens another one on its data. */
    readonly reopen: (withSecret?: Uint8Array) => Promise<KeyStore>;
    readonly openAnother: () => Promise<KeyStore>;
    readonly kill: () => Promise<KeyStore>;
  }

  function check(title: string, body: (context: Context) => Promise<void>): void {
    it(title, async () => {
      const opened = await open(secret);
      const stores = [opened.keys];
      const added = async (opening: Promise<KeyStore>): Promise<KeyStore> => {
        const store = await opening;
        stores.push(store);
        return store;
      };
      try {
        await body({
          keys: opened.keys,
          reopen: async (withSecret = secret) => {
            await stores.at(-1)?.close();
            return added(opened.open(withSecret));
          },
          openAnother: () => added(opened.open(secret)),
          kill: () => added(opened.kill()),
        });
      } finally {
        for (const store of stores.toReversed()) await store.close();
      }
    });
  }

  describe('devices', () => {
    check('have no keys at first, and are known from then on', async ({ keys, reopen }) => {
      expect(await keys.devicesOf(alice.userId)).toEqual([]);
      const device = await keys.openDevice(alice);
      expect([device.userId, device.deviceId, device.commits]).toEqual([alice.userId, alice.deviceId, 0]);
      expect([device.restorePending, device.databases.length]).toEqual([false, 0]);
      await device.commit([create('crypto')]);
      await device.release();
      await (await keys.openDevice(newDevice)).commit([create('crypto')]);
      const later = await reopen();
      expect(await later.devicesOf(alice.userId)).toEqual([alice.deviceId, newDevice.deviceId]);
      expect(await later.devicesOf(bob.userId)).toEqual([]);
    });

    check('have a key of their own, the same each time', async ({ keys, reopen }) => {
      const devices = [await keys.openDevice(alice), await keys.openDevice(bob)];
      const before = devices.map(({ key }) => [...key].join(','));
      expect(devices.map(({ key }) => key.length)).toEqual([32, 32]);
      expect(new Set(before).size).toBe(2);
      const later = await reopen();
      const after = [await later.openDevice(alice), await later.openDevice(bob)].map(({ key }) => [...key].join(','));
      expect(after).toEqual(before);
    });

    check('are reported as rolled back if they were forgotten', async ({ keys, reopen }) => {
      const device = await keys.openDevice(alice);
      await device.commit([create('crypto')]);
      await device.release();
      expect(await keys.forgetDevice(alice.userId, alice.deviceId)).toBe(true);
      expect(await keys.forgetDevice(alice.userId, alice.deviceId)).toBe(false);
      const later = await reopen();
      expect(await later.devicesOf(alice.userId)).toEqual([]);
      await expect(later.openDevice(alice)).rejects.toMatchObject({ code: 'ENCRYPTION_STORE_ROLLED_BACK' });
      expect((await later.openDevice(newDevice)).commits).toBe(0);
    });

    check('keep whether the backup is still to be read', async ({ keys, reopen }) => {
      const device = await keys.openDevice(alice);
      await device.commit([create('crypto')]);
      await device.setRestorePending(true);
      const later = await (await reopen()).openDevice(alice);
      expect(later.restorePending).toBe(true);
      await later.setRestorePending(false);
      expect((await (await reopen()).openDevice(alice)).restorePending).toBe(false);
    });
  });

  describe('commits', () => {
    check('return with all their parts', async ({ keys, reopen }) => {
      const device = await keys.openDevice(alice);
      const value = { text: 'a', list: [1, null, true], bytes: new Uint8Array([1, 2]), none: undefined };
      expect(await device.commit([create('crypto'), put('crypto', 'one', value), put('crypto', 'two', 2)])).toBe(1);
      expect(await device.commit([create('other'), put('other', 'x', 'y'), remove('crypto', 'two')])).toBe(2);
      const later = await (await reopen()).openDevice(alice);
      expect(later.commits).toBe(2);
      expect(contentOf(later)).toEqual({ crypto: { one: value }, other: { x: 'y' } });
      expect(later.databases.map((database) => database.schema)).toEqual([schema, schema]);
    });

    check('keep records of a key apart by object store, and by database', async ({ keys, reopen }) => {
      const device = await keys.openDevice(alice);
      await device.commit([create('a'), create('b')]);
      const inAccount: KeyChange = ['a', { records: [{ store: 'account', key: 'k', present: { value: 'account' } }] }];
      await Promise.all([
        device.commit([put('a', 'first', 0)]),
        device.commit([put('a', 'k', 'sessions'), inAccount, put('b', 'k', 'b')]),
      ]);
      const later = await (await reopen()).openDevice(alice);
      expect(contentOf(later)).toEqual({ a: { first: 0, k: 'sessions' }, b: { k: 'b' } });
      const a = later.databases.find(({ name }) => name === 'a'); // they come in no order
      expect(a?.records.get('account')).toEqual([{ key: 'k', value: 'account' }]);
    });

    check('replace a database with a schema', async ({ keys, reopen }) => {
      const device = await keys.openDevice(alice);
      await device.commit([create('crypto'), put('crypto', 'old', 1)]);
      const newer = { ...schema, version: 3 };
      await device.commit([
        ['crypto', { schema: newer, records: [{ store: 'sessions', key: 'new', present: { value: 2 } }] }],
      ]);
      const later = await (await reopen()).openDevice(alice);
      expect(later.databases.map((database) => database.schema)).toEqual([newer]);
      expect(contentOf(later)).toEqual({ crypto: { new: 2 } });
    });

    check('of a device take effect in the order of the calls', async ({ keys, reopen }) => {
      const device = await keys.openDevice(alice);
      await device.commit([create('crypto')]);
      const acknowledged: number[] = [];
      await Promise.all(
        Array.from({ length: 20 }, async (_value, n) => {
          await device.commit([put('crypto', 'last', n), put('crypto', `${n}`, n), remove('crypto', `${n - 1}`)]);
          acknowledged.push(n);
        }),
      );
      expect(acknowledged).toEqual(Array.from({ length: 20 }, (_value, n) => n));
      expect(contentOf(await (await reopen()).openDevice(alice))).toEqual({ crypto: { last: 19, 19: 19 } });
    });

    check('that wait for another one have the same effect if they are stored together', async ({ keys, reopen }) => {
      const device = await keys.openDevice(alice);
      const counts = await Promise.all([
        device.commit([create('a')]),
        device.commit([put('a', 'k', 1), put('a', 'gone', 1)]),
        device.commit([remove('a', 'gone'), put('a', 'k', 2)]),
        device.commit([create('b'), put('b', 'k', 1)]),
        device.commit([put('b', 'k', 2)]),
        device.commit([create('a'), put('a', 'again', 1)]),
        device.commit([put('a', 'again', 2)]),
      ]);
      const [first] = counts;
      expect(first).toBe(1);
      expect(counts).toEqual(counts.toSorted((one, other) => one - other));
      const later = await (await reopen()).openDevice(alice);
      expect(later.commits).toBe(counts.at(-1));
      expect(contentOf(later)).toEqual({ a: { again: 2 }, b: { k: 2 } });
    });

    check('of several devices run side by side', async ({ keys, reopen }) => {
      const users = ['@a:x', '@b:x', '@c:x', '@d:x', '@e:x'];
      await Promise.all(
        users.map(async (userId) => {
          const device = await keys.openDevice({ userId, deviceId: 'D' });
          await device.commit([create('crypto')]);
          for (let n = 0; n < 10; n++) await device.commit([put('crypto', 'owner', userId), put('crypto', 'n', n)]);
        }),
      );
      const later = await reopen();
      for (const userId of users) {
        const device = await later.openDevice({ userId, deviceId: 'D' });
        expect([device.commits, contentOf(device)]).toEqual([11, { crypto: { owner: userId, n: 9 } }]);
      }
    });
  });

  describe('a commit that fails', () => {
    const unknownDatabase = put('unknown', 'k', 1);
    const unstorable = put('crypto', 'k', () => {});

    for (const [name, bad] of [
      ['because it changes an unknown database', unknownDatabase],
      ['because a value cannot be stored', unstorable],
    ] as const) {
      check(`${name} stores nothing, and is the last one of its device`, async ({ keys }) => {
        const [device, other] = [await keys.openDevice(alice), await keys.openDevice(bob)];
        await Promise.all([
          device.commit([create('crypto'), put('crypto', 'k', 'before')]),
          other.commit([create('c')]),
        ]);
        const failing = device.commit([put('crypto', 'k', 'half'), bad]);
        const waiting = device.commit([put('crypto', 'k', 'waiting')]);
        await expect(failing).rejects.toMatchObject({ code: 'STORAGE' });
        await expect(waiting).rejects.toMatchObject({ code: 'STORAGE' });
        await expect(device.commit([put('crypto', 'k', 'later')])).rejects.toMatchObject({ code: 'STORAGE' });
        await other.commit([put('c', 'k', 'other')]);
        await Promise.all([device.release(), other.release()]);
        const again = await keys.openDevice(alice);
        expect([again.commits, contentOf(again)]).toEqual([1, { crypto: { k: 'before' } }]);
        await again.commit([put('crypto', 'k', 'after')]);
        expect(contentOf(await keys.openDevice(bob))).toEqual({ c: { k: 'other' } });
      });
    }
  });

  describe('side records', () => {
    check('return as they were written last, and are no commits', async ({ keys, reopen }) => {
      const device = await keys.openDevice(alice);
      await device.commit([create('crypto')]);
      expect(await read(device, 'a')).toBe(undefined);
      const bytes = record(1, 2);
      const writing = device.writeSideRecord('a', bytes);
      bytes.fill(0); // a store that writes later has to copy
      await Promise.all([writing, device.writeSideRecord('b', record()), device.writeSideRecord('c', record(9))]);
      await device.writeSideRecord('c', record(3));
      const later = await (await reopen()).openDevice(alice);
      expect([await read(later, 'a'), await read(later, 'b'), await read(later, 'c')]).toEqual([[1, 2], [], [3]]);
      expect([later.commits, await read(later, 'd')]).toEqual([1, undefined]);
    });

    check('belong to one device, and are deleted with its keys', async ({ keys }) => {
      const device = await keys.openDevice(alice);
      const other = await keys.openDevice(bob);
      await Promise.all([device.writeSideRecord('a', record(1)), other.writeSideRecord('a', record(2))]);
      expect([await read(device, 'a'), await read(other, 'a')]).toEqual([[1], [2]]);
      await device.release();
      await keys.forgetDevice(alice.userId, alice.deviceId);
      const next = await keys.openDevice(newDevice);
      expect([await read(next, 'a'), await read(other, 'a')]).toEqual([undefined, [2]]);
    });

    check('survive a killed process once they are acknowledged', async ({ keys, kill }) => {
      const device = await keys.openDevice(alice);
      await device.commit([create('crypto')]);
      await device.writeSideRecord('a', record(1));
      const later = await (await kill()).openDevice(alice);
      expect(await read(later, 'a')).toEqual([1]);
    });

    check('are stored before a release ends, and not after it', async ({ keys }) => {
      const device = await keys.openDevice(alice);
      const writing = device.writeSideRecord('a', record(1));
      await device.release();
      await writing;
      await expect(device.writeSideRecord('a', record(2))).rejects.toMatchObject({ code: 'ABORTED' });
      await expect(device.readSideRecord('a')).rejects.toMatchObject({ code: 'ABORTED' });
      expect(await read(await keys.openDevice(alice), 'a')).toEqual([1]);
    });
  });

  describe('a held device', () => {
    check('cannot be opened or forgotten until it is released', async ({ keys }) => {
      const openings = await Promise.allSettled([keys.openDevice(alice), keys.openDevice(alice)]);
      expect(openings.map(({ status }) => status)).toEqual(['fulfilled', 'rejected']);
      for (const options of [alice, newDevice]) {
        await expect(keys.openDevice(options)).rejects.toMatchObject({ code: 'ENCRYPTION_STORE_IN_USE' });
      }
      const forgetting = keys.forgetDevice(alice.userId, alice.deviceId);
      await expect(forgetting).rejects.toMatchObject({ code: 'ENCRYPTION_STORE_IN_USE' });
      const [opening] = openings;
      if (opening?.status === 'fulfilled') await opening.value.release();
      await (await keys.openDevice(alice)).release();
      expect(await keys.forgetDevice(alice.userId, alice.deviceId)).toBe(true);
    });

    check('cannot be opened by somebody else until it is released', async ({ keys, openAnother }) => {
      const device = await keys.openDevice(alice);
      await device.commit([create('crypto')]);
      // A store may also be held as a whole.
      const another = await openAnother().catch((error: unknown) => error as { readonly code: unknown });
      if ('code' in another) {
        expect(another.code).toBe('STORAGE_LOCKED');
        await keys.close();
        await (await (await openAnother()).openDevice(alice)).release();
        return;
      }
      await expect(another.openDevice(alice)).rejects.toMatchObject({ code: 'ENCRYPTION_STORE_IN_USE' });
      await device.commit([put('crypto', 'k', 1)]);
      await device.release();
      expect(contentOf(await another.openDevice(alice))).toEqual({ crypto: { k: 1 } });
    });

    check('is released after its running commits, and takes no further change', async ({ keys }) => {
      const device = await keys.openDevice(alice);
      const commits = [device.commit([create('crypto')]), device.commit([put('crypto', 'k', 1)])];
      const note = device.setRestorePending(true);
      await device.release();
      const again = await keys.openDevice(alice);
      expect([contentOf(again), again.restorePending]).toEqual([{ crypto: { k: 1 } }, true]);
      await Promise.all([...commits, note]);
      await expect(device.commit([put('crypto', 'k', 2)])).rejects.toMatchObject({ code: 'ABORTED' });
      await expect(device.setRestorePending(false)).rejects.toMatchObject({ code: 'ABORTED' });
      await device.release();
      await expect(keys.openDevice(alice)).rejects.toMatchObject({ code: 'ENCRYPTION_STORE_IN_USE' });
    });
  });

  describe('a device that was opened with a claim', () => {
    const elsewhere = { code: 'OWNED_ELSEWHERE', userId: alice.userId };

    async function expectNothingStored(device: DeviceHandle): Promise<void> {
      for (const k of ['one', 'two']) {
        await expect(device.commit([put('crypto', k, 'too late')])).rejects.toMatchObject(elsewhere);
      }
      await expect(device.writeSideRecord('a', new Uint8Array([1]))).rejects.toMatchObject(elsewhere);
      await expect(device.setRestorePending(true)).rejects.toMatchObject(elsewhere);
    }

    check('stores nothing once the claim is lost, and can be opened with the next one', async ({ keys }) => {
      const claims = new MemoryClaims();
      const device = await keys.openDevice({ ...alice, claim: await claims.take(alice.userId) });
      await device.commit([create('crypto')]);
      const claim = await claims.take(alice.userId);
      await expectNothingStored(device);
      const next = await keys.openDevice({ ...alice, claim });
      expect([contentOf(next), next.restorePending]).toEqual([{ crypto: {} }, false]);
      await device.release();
      await next.commit([put('crypto', 'k', 'next')]);
      await expect(keys.openDevice(alice)).rejects.toMatchObject({ code: 'ENCRYPTION_STORE_IN_USE' });
      await next.release();
      expect(contentOf(await keys.openDevice(alice))).toEqual({ crypto: { k: 'next' } });
    });

    check(
      'stores nothing once another process has it, even if its own does not know',
      async ({ keys, openAnother }) => {
        const claimOf = (epoch: number): Claim => {
          return { userId: alice.userId, epoch, signal: new AbortController().signal, assertHeld: () => {} };
        };
        const device = await keys.openDevice({ ...alice, claim: claimOf(1) });
        await device.commit([create('crypto')]);
        const another = await openAnother().catch((error: unknown) => error as { readonly code: unknown });
        if ('code' in another) return expect(another.code).toBe('STORAGE_LOCKED');
        const next = await another.openDevice({ ...alice, claim: claimOf(2) });
        await expectNothingStored(device);
        await next.commit([put('crypto', 'k', 'next')]);
        await Promise.all([device.release(), next.release()]);
        expect(contentOf(await another.openDevice(alice))).toEqual({ crypto: { k: 'next' } });
      },
    );
  });

  describe('a killed process', () => {
    check('leaves each commit complete or not at all, and all that were acknowledged', async ({ keys, kill }) => {
      const device = await keys.openDevice(alice);
      await device.commit([create('a'), create('b')]);
      let acknowledged = -1;
      const commits = Array.from({ length: 30 }, async (_value, n) => {
        await device.commit([put('a', 'n', n), put('b', 'n', n), put('a', `${n}`, n), remove('a', `${n - 1}`)]);
        acknowledged = n;
      });
      const ended = Promise.allSettled(commits);
      await commits[0];
      const known = acknowledged;
      const later = await kill();
      await ended;
      const found = contentOf(await later.openDevice(alice));
      const n = Number(found['a']?.['n']);
      expect(n >= known).toBe(true);
      expect(found).toEqual({ a: { n, [`${n}`]: n }, b: { n } });
    });

    check('holds no device any more', async ({ keys, kill }) => {
      const device = await keys.openDevice(alice);
      await device.commit([create('crypto')]);
      const again = await (await kill()).openDevice(alice);
      expect(again.commits).toBe(1);
      await again.commit([put('crypto', 'k', 1)]);
    });
  });

  describe('the secret', () => {
    const next = new Uint8Array(32).fill(9);

    check('has to be the same each time', async ({ keys, reopen }) => {
      const device = await keys.openDevice(alice);
      await device.commit([create('crypto'), put('crypto', 'k', 1)]);
      await expect(reopen(next)).rejects.toMatchObject({ code: 'INVALID_OPTIONS' });
      expect(contentOf(await (await reopen()).openDevice(alice))).toEqual({ crypto: { k: 1 } });
    });

    check('is replaced while devices are held, and for those that are not', async ({ keys, reopen }) => {
      const other = await keys.openDevice(bob);
      await other.commit([create('crypto'), put('crypto', 'k', 'bob')]);
      await other.release();
      const device = await keys.openDevice(alice);
      await device.commit([create('crypto')]);
      await keys.rotateSecret(next);
      await device.commit([put('crypto', 'k', 'alice')]);
      await expect(reopen(secret)).rejects.toMatchObject({ code: 'INVALID_OPTIONS' });
      const later = await reopen(next);
      expect(contentOf(await later.openDevice(alice))).toEqual({ crypto: { k: 'alice' } });
      expect(contentOf(await later.openDevice(bob))).toEqual({ crypto: { k: 'bob' } });
    });

    check('is not replaced by an invalid one', async ({ keys, reopen }) => {
      await expect(keys.rotateSecret('short')).rejects.toMatchObject({ code: 'INVALID_OPTIONS' });
      await (await reopen()).devicesOf(alice.userId);
    });
  });

  describe('a closed store', () => {
    check('has stored its running commits, and refuses every call', async ({ keys, reopen }) => {
      const device = await keys.openDevice(alice);
      const commits = [device.commit([create('crypto')]), device.commit([put('crypto', 'k', 1)])];
      await Promise.all([keys.close(), keys.close()]);
      await Promise.all(commits);
      await expect(device.commit([put('crypto', 'k', 2)])).rejects.toMatchObject({ code: 'ABORTED' });
      for (const call of [
        () => keys.openDevice(alice),
        () => keys.devicesOf(alice.userId),
        () => keys.forgetDevice(alice.userId, alice.deviceId),
        () => keys.rotateSecret(secret),
      ]) {
        await expect(call()).rejects.toMatchObject({ code: 'STORAGE' });
      }
      expect(contentOf(await (await reopen()).openDevice(alice))).toEqual({ crypto: { k: 1 } });
    });
  });
}
