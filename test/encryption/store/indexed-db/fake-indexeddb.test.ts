import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { nextEventLoopTurn } from '../../../../src/core/event-loop.js';
import { indexedDbClasses, IDBFactory } from '../../../../src/encryption/store/indexed-db/raw-database.js';
import type { RawDatabase, RawTransaction } from '../../../../src/encryption/store/indexed-db/raw-database.js';
import type { Db } from '../../support/indexed-db.js';
import { completed, resultOf } from '../../support/indexed-db.js';

// Where one of these fails after an update: read what has changed in fake-indexeddb, run kill.crash.ts with many
// rounds (CRYPTO_KILL_ROUNDS=200), and only then change the version here.
const require = createRequire(import.meta.url);

async function database(): Promise<{ raw: RawDatabase; db: Db }> {
  const factory = new IDBFactory();
  const request = factory.open('test', 1);
  request.addEventListener('upgradeneeded', () => {
    request.result.createObjectStore('keys', { keyPath: null }).createIndex('by_kind', 'kind', {
      multiEntry: false,
      unique: false,
    });
  });
  const db = (await resultOf(request as never)) as Db;
  const raw = factory._databases.get('test');
  if (!raw) throw new Error('the factory keeps its databases elsewhere');
  return { raw, db };
}

describe('fake-indexeddb, inside', () => {
  it('is the one version that was examined', () => {
    const entry = require.resolve('fake-indexeddb');
    const path = `${entry.slice(0, entry.lastIndexOf('fake-indexeddb'))}fake-indexeddb/package.json`;
    expect((JSON.parse(readFileSync(path, 'utf8')) as { version: string }).version).toBe('6.2.8');
    const own = readFileSync(fileURLToPath(new URL('../../../../package.json', import.meta.url)), 'utf8');
    expect((JSON.parse(own) as { dependencies: object }).dependencies).toHaveProperty('fake-indexeddb', '6.2.8');
  });

  it('has the shape of a database in plain sight', async () => {
    const { raw } = await database();
    expect(raw).toMatchObject({ name: 'test', version: 1 });
    const store = raw.rawObjectStores.get('keys');
    expect(store).toMatchObject({ name: 'keys', keyPath: null, autoIncrement: false });
    expect(store?.rawIndexes.get('by_kind')).toMatchObject({
      name: 'by_kind',
      keyPath: 'kind',
      multiEntry: false,
      unique: false,
    });
  });

  it('changes records through put, delete and clear alone, also when it takes changes back', async () => {
    const { raw, db } = await database();
    const records = raw.rawObjectStores.get('keys')?.records;
    if (!records) throw new Error('no store');
    const calls: string[] = [];
    for (const name of ['put', 'delete', 'clear'] as const) {
      const original = (records[name] as (...args: unknown[]) => unknown).bind(records);
      Object.assign(records, {
        [name]: (...args: unknown[]) => {
          calls.push(name);
          return original(...args);
        },
      });
    }
    const done = db.transaction('keys', 'readwrite');
    done.objectStore('keys').put(1, 'a');
    done.objectStore('keys').put(2, 'b');
    done.objectStore('keys').delete('a');
    await completed(done);
    expect(calls.splice(0)).toEqual(['put', 'put', 'delete']);
    const undone = db.transaction('keys', 'readwrite');
    await resultOf(undone.objectStore('keys').put(3, 'c'));
    await resultOf(undone.objectStore('keys').delete('b'));
    await resultOf(undone.objectStore('keys').clear());
    expect(calls.splice(0)).toEqual(['put', 'delete', 'clear']);
    undone.abort();
    await expect(completed(undone)).rejects.toThrow('aborted');
    expect([...new Set(calls)].toSorted()).toEqual(['delete', 'put']);
    expect([...records.values()].map(({ key }) => key)).toEqual(['b']);
  });

  it('announces a transaction by push, and its end by dispatchEvent before anybody hears of it', async () => {
    const { raw, db } = await database();
    const pushed: RawTransaction[] = [];
    raw.transactions.push = (...added) => {
      pushed.push(...added);
      return Array.prototype.push.apply(raw.transactions, added);
    };
    const tx = db.transaction('keys', 'readwrite');
    const [inside] = pushed;
    expect(inside).toBe(tx);
    expect(inside?.mode).toBe('readwrite');
    expect([...(inside?._scope ?? [])]).toEqual(['keys']);
    const order: string[] = [];
    const dispatch = inside?.dispatchEvent.bind(inside);
    Object.assign(inside ?? {}, {
      dispatchEvent: (event: { type: string }) => {
        order.push(`dispatch ${event.type}`);
        return dispatch?.(event);
      },
    });
    tx.addEventListener('complete', () => order.push('heard complete'));
    tx.objectStore('keys').put(1, 'a');
    await completed(tx);
    expect(order).toEqual(['dispatch complete', 'heard complete']);
  });

  it('can still take a transaction back when it is about to tell that it is complete', async () => {
    const { raw, db } = await database();
    raw.transactions.push = (...added) => {
      for (const transaction of added) {
        const dispatch = transaction.dispatchEvent.bind(transaction);
        transaction.dispatchEvent = (event) => {
          if (event.type !== 'complete') return dispatch(event);
          transaction._abort('QuotaExceededError');
          return true;
        };
      }
      return Array.prototype.push.apply(raw.transactions, added);
    };
    const tx = db.transaction('keys', 'readwrite');
    tx.objectStore('keys').put(1, 'a');
    await expect(completed(tx)).rejects.toMatchObject({ name: 'QuotaExceededError' });
    expect([...(raw.rawObjectStores.get('keys')?.records.values() ?? [])]).toEqual([]);
  });
});

describe('a transaction of fake-indexeddb that is about to tell that it is complete', () => {
  it('holds back others on its stores while it is in the list and not finished', async () => {
    const { raw, db } = await database();
    const ends: (() => void)[] = [];
    raw.transactions.push = (...added) => {
      for (const transaction of added) {
        const dispatch = transaction.dispatchEvent.bind(transaction);
        transaction.dispatchEvent = (event) => {
          if (event.type !== 'complete' || ends.length > 0) return dispatch(event);
          transaction._state = 'committing';
          Array.prototype.push.call(raw.transactions, transaction);
          ends.push(() => {
            transaction._markFinished();
            dispatch(event);
          });
          return true;
        };
      }
      return Array.prototype.push.apply(raw.transactions, added);
    };
    const first = db.transaction('keys', 'readwrite');
    first.objectStore('keys').put(1, 'a');
    const second = db.transaction('keys');
    const heard: string[] = [];
    const ended = [first, second].map((tx, n) => completed(tx).then(() => heard.push(`${n}`)));
    await expect.poll(() => ends.length).toBe(1);
    for (let turn = 0; turn < 10; turn++) await nextEventLoopTurn();
    expect([heard, raw.transactions.filter((transaction) => transaction === (first as unknown)).length]).toEqual([
      [],
      1,
    ]);
    ends[0]?.();
    await Promise.all(ended);
    expect(heard).toEqual(['0', '1']);
    await expect.poll(() => raw.transactions.length).toBe(0);
  });
});

describe("the SDK's WebAssembly", () => {
  it('looks for no other part of IndexedDB than it is given', () => {
    const entry = require.resolve('@matrix-org/matrix-sdk-crypto-wasm');
    const glue = readFileSync(entry.replace('node.cjs', 'pkg/matrix_sdk_crypto_wasm_bg.js'), 'utf8');
    const code = glue.replaceAll(/\/\*[^]*?\*\//g, '');
    const used = new Set(code.match(/(?<![\w.])IDB[A-Z]\w+/g));
    expect([...used].filter((name) => !(name in indexedDbClasses))).toEqual([]);
    expect(Object.values(indexedDbClasses).map((one) => typeof one)).toEqual(
      Object.keys(indexedDbClasses).map(() => 'function'),
    );
    expect(code).toMatch(/export function __wbg_queueMicrotask_\w+\(arg0\) \{\s*queueMicrotask\(arg0\);/);
  });
});
