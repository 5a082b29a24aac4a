import { join } from 'node:path';
import * as fc from 'fast-check';
import type { MatrixClient } from 'matrix-js-sdk';
import type { CryptoApi } from 'matrix-js-sdk/lib/crypto-api/index.js';
import { RustBackupManager } from 'matrix-js-sdk/lib/rust-crypto/backup.js';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { orTimeout } from '../../src/core/abort.js';
import { systemClock } from '../../src/core/clock.js';
import { keysOfNewDevice } from '../encryption/support/olm-machine.js';
import { temporaryFolder } from '../storage/temporary-folder.js';
import { MatrixClientManagerError } from '../../src/index.js';
import { managerOnFake } from '../support/manager-on-fake.js';
import { Recorder } from '../support/recorder.js';

/** Names that every object has something under, or that reach a prototype on the way. */
const names = ['__proto__', 'constructor', 'prototype', 'toString'] as const;
const prototypes = [Object, Array, Function, String, Number, Boolean, Map, Set, Promise, RegExp, Error, Date].flatMap(
  (of): [string, object][] => [
    [`${of.name}.prototype`, of.prototype as object],
    [of.name, of],
  ],
);

/** Everything that the prototypes have, by identity. */
function snapshot(): Map<string, unknown> {
  const seen = new Map<string, unknown>();
  for (const [name, prototype] of prototypes) {
    for (const key of Reflect.ownKeys(prototype)) {
      const property = Object.getOwnPropertyDescriptor(prototype, key);
      seen.set(
        `${name} ${String(key)}`,
        [property?.value, Reflect.get(property ?? {}, 'get'), Reflect.get(property ?? {}, 'set')].find(Boolean),
      );
    }
    seen.set(`${name} [[Prototype]]`, Object.getPrototypeOf(prototype));
  }
  return seen;
}

const open: AsyncDisposable[] = [];
let before = new Map<string, unknown>();
beforeEach(() => {
  before = snapshot();
});
afterEach(async () => {
  for (const one of open.splice(0).toReversed()) await one[Symbol.asyncDispose]();
});

/** A manager on a fake homeserver for one run of a property. */
function disposableOnFake(options: Parameters<typeof managerOnFake>[0] = {}) {
  const on = managerOnFake(options);
  const end = async (): Promise<void> => {
    await on.manager.shutdown();
    await on.fake.close();
  };
  return { ...on, [Symbol.asyncDispose]: end };
}

/** What has changed since the test began. */
function changedPrototypes(): string[] {
  const after = snapshot();
  const changed = [...after].filter(([name, value]) => !Object.is(before.get(name), value)).map(([name]) => name);
  return [...changed, ...[...before.keys()].filter((name) => !after.has(name))];
}

/** Gives an object a property of its own, whatever it is called. */
function define(target: object, key: string, value: unknown): void {
  Object.defineProperty(target, key, { value, configurable: true, enumerable: true, writable: true });
}

/** A key of the answer to be renamed, or a value to be put beside it: which of them, and how it is called. */
interface Change {
  readonly at: number;
  readonly name: (typeof names)[number];
  readonly how: 'rename' | 'add' | 'value' | 'nest';
}

const changes = fc.array(
  fc.record<Change>({
    at: fc.nat(10_000),
    name: fc.constantFrom(...names),
    how: fc.constantFrom('rename', 'add', 'value', 'nest'),
  }),
  { minLength: 1, maxLength: 6 },
);

/** What becomes of `value` when each change befalls one of the key positions in it; `keep` are keys that stay. */
function changed<T>(value: T, list: readonly Change[], keep: ReadonlySet<string> = new Set()): T {
  const copy = structuredClone(value);
  for (const { at, name, how } of list) {
    const places: [Record<string, unknown>, string][] = [];
    const collect = (inner: unknown): void => {
      if (typeof inner !== 'object' || inner === null) return;
      for (const [key, further] of Object.entries(inner)) {
        if (!Array.isArray(inner) && !keep.has(key)) places.push([inner as Record<string, unknown>, key]);
        collect(further);
      }
    };
    collect(copy);
    const [object, key] = places[at % places.length] ?? [];
    if (!object || key === undefined) continue;
    const old = object[key];
    if (how === 'rename') delete object[key];
    if (how === 'rename' || how === 'add') define(object, name, old);
    if (how === 'value') define(object, key, name);
    if (how === 'nest') {
      const inner = {};
      define(inner, name, { polluted: old });
      define(object, key, inner);
    }
  }
  return copy;
}

const runs = { numRuns: 25, endOnFailure: true };
const SLIDING = '/_matrix/client/unstable/org.matrix.simplified_msc3575/sync';

describe('no prototype changes by keys', () => {
  it('of syncs, first ones and others, and the client is to be had', async () => {
    await fc.assert(
      fc.asyncProperty(changes, fc.boolean(), fc.boolean(), async (list, slidingSync, observed) => {
        await using on = disposableOnFake({ slidingSync });
        const { clock, fake, manager, soon } = on;
        const alice = fake.createUser({ username: 'alice' });
        const bob = fake.createUser({ username: 'bob' });
        const roomId = fake.createRoom({ creator: alice.userId, members: [bob.userId], name: 'Room' });
        fake.invite(fake.createRoom({ creator: bob.userId }), alice.userId);
        const eventId = fake.sendMessage(roomId, bob.userId, 'hello');
        fake.sendReceipt(roomId, bob.userId, eventId);
        const keep = new Set(['next_batch']);
        for (const endpoint of ['/sync', ...(slidingSync ? [SLIDING] : [])]) {
          fake.faults.rewrite({ endpoint }, (body) => changed(body, list, keep));
        }
        const starting = manager.startClient({ ...alice, callbacks: [new Recorder().callback] });
        await soon(starting.catch(() => {}));
        if (observed) manager.getClient(alice.userId);
        const edit = { body: 'b', 'm.new_content': {}, 'm.relates_to': { rel_type: 'm.replace', event_id: eventId } };
        fake.sendMessage(roomId, bob.userId, edit);
        fake.sendReceipt(roomId, bob.userId, eventId);
        fake.setTyping(roomId, bob.userId, true);
        await clock.advance(5_000);
        manager.getClient(alice.userId);
        await soon(manager.getRoomMessages(roomId, 5, undefined, alice.userId).catch(() => {}));
        await clock.advance(1_000);
        expect(changedPrototypes()).toEqual([]);
      }),
      runs,
    );
  }, 120_000);

  it('of receipts, in each place', async () => {
    await fc.assert(
      fc.asyncProperty(fc.tuple(...Array.from({ length: 4 }, () => fc.constantFrom(...names))), async (path) => {
        await using on = disposableOnFake();
        const { clock, fake, manager, soon } = on;
        const alice = fake.createUser({ username: 'alice' });
        const roomId = fake.createRoom({ creator: alice.userId });
        let content: unknown = { ts: 1 };
        for (const name of path) {
          const outer = {};
          define(outer, name, content);
          content = outer;
        }
        fake.faults.rewrite({ endpoint: '/sync' }, (body) => {
          const { rooms } = body as { rooms?: { join?: Record<string, { ephemeral?: unknown }> } };
          for (const section of Object.values(rooms?.join ?? {})) {
            section.ephemeral = { events: [{ type: 'm.receipt', content }] };
          }
          return body;
        });
        await soon(manager.startClient(alice));
        fake.sendMessage(roomId, alice.userId, 'hello');
        await clock.advance(1_000);
        expect(manager.getClient(alice.userId)?.getRoom(roomId)).toBeTruthy();
        expect(changedPrototypes()).toEqual([]);
      }),
      runs,
    );
  }, 120_000);

  it('of pages, admin answers, logins and errors', async () => {
    const { fake, manager, soon } = managerOnFake();
    open.push(fake, manager);
    const { userId } = await soon(manager.provisionUser({ username: 'alice' }));
    const roomId = fake.createRoom({ creator: userId });
    const edited = fake.sendMessage(roomId, userId, 'one');
    fake.sendMessage(roomId, userId, {
      body: 'two',
      'm.new_content': { body: 'two' },
      'm.relates_to': { rel_type: 'm.replace', event_id: edited },
    });
    fake.redact(roomId, userId, fake.sendState(roomId, userId, 'constructor', { name: 'x' }));
    let serial = 0;
    const calls: (() => Promise<unknown>)[] = [
      () => manager.getRoomMessages(roomId, 10, undefined, userId),
      () => manager.admin.getUser(userId),
      () => manager.admin.listUsers(),
      () => manager.admin.listDevices(userId),
      () => manager.admin.isUsernameAvailable('bob'),
      () => manager.provisionUser({ username: `user${serial++}` }),
      () => manager.sendMessage({ userId, roomId, text: 'hello' }),
      () => manager.checkHealth(),
    ];
    await fc.assert(
      fc.asyncProperty(changes, async (list) => {
        const mend = fake.faults.rewrite({}, (body) => changed(body, list));
        for (const call of calls) await soon(call().catch(() => {}));
        mend();
        expect(changedPrototypes()).toEqual([]);
      }),
      runs,
    );
  }, 120_000);

  it('of key queries, claims, backups and secret storage, and encryption goes on', async () => {
    Object.assign(RustBackupManager, { maxBackupLoopStartDelayMillis: 0 }); // up to 10 seconds, at random
    const recoveryKeys = new Map<string, string>();
    const { fake, manager } = managerOnFake({
      clock: systemClock, // what the SDK does for encryption waits for real
      encryption: {
        path: join(temporaryFolder(), 'keys.sqlite'),
        secret: new Uint8Array(32).fill(7),
        onRecoveryKey: (userId, key) => void recoveryKeys.set(userId, key),
        recoveryKey: (userId) => recoveryKeys.get(userId),
      },
    });
    open.push(fake, manager);
    const { userId: alice } = await manager.provisionUser({ username: 'alice' });
    const { userId: bob } = await manager.provisionUser({ username: 'bob' });
    const roomId = fake.createRoom({
      creator: alice,
      members: [bob],
      initialState: [{ type: 'm.room.encryption', content: { algorithm: 'm.megolm.v1.aes-sha2' } }],
    });
    for (const userId of [alice, bob]) await manager.startClient({ userId });
    await manager.sendMessage({ userId: alice, roomId, text: 'hello' });
    const endpoints = [
      '/keys/query',
      '/keys/claim',
      '/keys/changes',
      '/room_keys/version',
      '/room_keys/keys',
      '/user/{userId}/account_data/{type}',
    ];
    let serial = 0;
    await fc.assert(
      fc.asyncProperty(changes, async (list) => {
        const mends = endpoints.map((endpoint) => fake.faults.rewrite({ endpoint }, (body) => changed(body, list)));
        const carol = fake.createUser({ username: `carol${serial++}` });
        const headers = { authorization: `Bearer ${carol.accessToken}` };
        const upload = { method: 'POST', headers, body: await keysOfNewDevice(carol) };
        await fake.fetch(`${fake.baseUrl}/_matrix/client/v3/keys/upload`, upload);
        fake.join(roomId, carol.userId); // the next message queries and claims their keys
        const ask = (work: (client: MatrixClient, crypto: CryptoApi) => Promise<unknown>) => (): Promise<unknown> =>
          manager.withClient(alice, (client) => work(client, client.getCrypto() as CryptoApi));
        const calls: (() => Promise<unknown>)[] = [
          () => manager.sendMessage({ userId: alice, roomId, text: 'to a new device' }),
          () => manager.userVerification(alice, bob),
          ask((client) => client.getKeyChanges(client.store.getSyncToken() ?? '', client.store.getSyncToken() ?? '')),
          ask((_, crypto) => crypto.getUserDeviceInfo([bob, '@dave:hs.test'], true)),
          ask((_, crypto) => crypto.checkKeyBackupAndEnable()),
          ask((_, crypto) => crypto.restoreKeyBackup()),
          () => manager.encryptionStatus(alice),
        ];
        const late = () => new MatrixClientManagerError('TIMEOUT', 'it is tried again for longer than this waits');
        for (const call of calls) await orTimeout(call(), systemClock, 1_000, late).catch(() => {});
        for (const mend of mends) mend();
        expect(changedPrototypes()).toEqual([]);
      }),
      { ...runs, numRuns: 5 },
    );
    await manager.stopClient(alice); // what it was told of its own keys holds until its next start
    const sent = await manager.sendMessage({ userId: alice, roomId, text: 'all is well again' });
    expect([sent.eventId !== '', manager.clientInfo(alice)?.state, changedPrototypes()]).toEqual([true, 'live', []]);
  }, 120_000);

  it('of what the application passes', async () => {
    const { fake, manager, soon } = managerOnFake();
    open.push(fake, manager);
    const { userId } = await soon(manager.provisionUser({ username: 'alice' }));
    const roomId = fake.createRoom({ creator: userId });
    const eventId = fake.sendMessage(roomId, userId, 'one');
    const content = { msgtype: 'm.text', body: 'x', 'm.mentions': { user_ids: [userId] }, a: { b: { c: 1 } } };
    const options: [string, object, (options: never) => unknown][] = [
      ['sendMessage', { userId, roomId, content, txnId: 'txn' }, (given) => manager.sendMessage(given)],
      ['sendTyping', { userId, roomId, typing: true }, (given) => manager.sendTyping(given)],
      ['sendReadReceipt', { userId, roomId, eventId }, (given) => manager.sendReadReceipt(given)],
      ['getRoomMessages', { userId, roomId, limit: 5 }, (given) => manager.getRoomMessages(given)],
      ['provisionUser', { username: 'bob', displayName: 'Bob' }, (given) => manager.provisionUser(given)],
      ['startClient', { userId, callbacks: [] }, (given) => manager.startClient(given)],
      ['listUsers', { limit: 5, name: 'a' }, (given) => manager.admin.listUsers(given)],
      ['listSends', { userId }, (given) => manager.listSends(given)],
      ['deadLetters', { userId, limit: 5 }, (given) => manager.deadLetters(given)],
    ];
    await fc.assert(
      fc.asyncProperty(changes, async (list) => {
        for (const [, given, call] of options) {
          const attempt = async (): Promise<unknown> => call(changed(given, list) as never);
          await soon(attempt().catch(() => {}));
        }
        expect(changedPrototypes()).toEqual([]);
      }),
      runs,
    );
    for (const name of names) {
      const own = {};
      define(own, name, { [name]: 'x' });
      const sent = await soon(manager.sendMessage({ userId, roomId, content: { body: name, ...own, in: own } }));
      expect(sent.eventId).toBeTruthy();
    }
    expect(changedPrototypes()).toEqual([]);
  }, 120_000);
});
