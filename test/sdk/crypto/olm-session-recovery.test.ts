import { expect, it } from 'vitest';
import type { CryptoBackend, OutgoingRequest } from '../../../src/sdk/crypto/crypto-backend.js';
import { KEYS_CLAIM } from '../../../src/sdk/crypto/crypto-backend.js';
import { OlmSessionRecovery } from '../../../src/sdk/crypto/olm-session-recovery.js';
import { MemoryLogger } from '../../../src/testing/memory-logger.js';
import { ManualClock } from '../../../src/testing/manual-clock.js';

const OWN_KEY = keyOf('own');
const HOUR_MS = 3_600_000;

class UserId {
  readonly id: string;

  constructor(id: string) {
    if (!/^@.*:./.test(id)) throw new Error('invalid user id');
    this.id = id;
  }

  toString(): string {
    return this.id;
  }

  free(): void {}
}

class DeviceId {
  readonly id: string;

  constructor(id: string) {
    this.id = id;
  }

  free(): void {}
}

class KeysClaimRequest {
  readonly type = KEYS_CLAIM;
  readonly id: string;
  readonly body: string;

  constructor(id: string, body: string) {
    this.id = id;
    this.body = body;
  }
}

/** The Curve25519 key of a device. */
function keyOf(deviceId: string): string {
  return `KeyOf${deviceId}`.padEnd(43, '+');
}

type Keys = Record<string, Record<string, unknown>>;
interface Sent {
  readonly method: string;
  readonly path: string;
  readonly body: { readonly one_time_keys?: Keys; readonly messages?: Keys };
}

const received = new WeakMap<ReturnType<typeof memoryRecords>, number>();

/** The records of a device, which outlive its client. */
function memoryRecords() {
  const records = new Map<string, Uint8Array>();
  const store = {
    userId: '@me:x',
    readSideRecord: async (name: string) => records.get(name),
    writeSideRecord: async (name: string, record: Uint8Array) => {
      received.set(store, (received.get(store) ?? 0) + 1);
      records.set(name, record);
    },
  };
  return store;
}

/** A client whose crypto library knows the devices `D1`, `D2` ... of each user, with the keys `keyOf('D1')` ... */
function client({ clock = new ManualClock(), store = memoryRecords(), devices = 3 } = {}) {
  const sent: Sent[] = [];
  const sessions = new Set<string>();
  const queried: string[] = [];
  const ended = new AbortController();
  const logger = new MemoryLogger();
  const library = {
    devices,
    /** Devices without one-time keys. */
    exhausted: new Set<string>(),
    missing: {} as Keys,
    marked: {} as Keys,
    /** Users in no encrypted room of the client. */
    strangers: new Set<string>(),
    users: new Set<string>(),
    /** Settles each request. */
    answer: async (): Promise<void> => {},
    signatureIsWrong: false,
    /** What homeservers answer to claims, by user. */
    keys: {} as Record<string, unknown>,
    /** Called for each request for a user's devices, and each look at them. */
    onQuery: async (_userId: string): Promise<void> => {},
    onLookUp: async (_userId: string): Promise<void> => {},
  };
  const object = (text: string) => ({ toString: () => text, toBase64: () => text, free: () => {} });
  const deviceOf = (userId: string, n: number) => ({
    deviceId: object(`D${n}`),
    curve25519Key: object(keyOf(`D${n}`)),
    free: () => {},
    encryptToDeviceEvent: async (type: string, content: object) => {
      expect([type, content]).toEqual(['m.dummy', {}]);
      const isNew = sessions.has(`${userId}D${n}`);
      return JSON.stringify({ ciphertext: { [keyOf(`D${n}`)]: { type: isNew ? 0 : 1 } } });
    },
  });
  const olmMachine = {
    userId: new UserId('@me:x'),
    identityKeys: { curve25519: { toBase64: () => OWN_KEY } },
    receiveSyncChanges: async (...messages: { rawEvent: string }[]) => {
      for (const sender of messages.map(({ rawEvent }) => /"sender":"(@[^"]+)"/.exec(rawEvent)?.[1])) {
        if (sender !== undefined) library.users.add(sender);
      }
      return messages;
    },
    outgoingRequests: async () =>
      Object.keys(library.marked).length === 0
        ? [{ type: 1 }]
        : [{ type: 1 }, new KeysClaimRequest('id', JSON.stringify({ one_time_keys: library.marked }))],
    getMissingSessions: async () =>
      Object.keys(library.missing).length === 0
        ? undefined
        : new KeysClaimRequest('id', JSON.stringify({ timeout: 1, one_time_keys: library.missing })),
    /** Throws at once on a malformed response, as the real one does. */
    markRequestAsSent: (_id: string, type: number, response: string) => {
      expect(type).toBe(KEYS_CLAIM);
      const { one_time_keys: keys } = JSON.parse(response) as { one_time_keys: Keys };
      for (const [userId, ofUser] of Object.entries(keys)) {
        const keyIds = Object.values(ofUser).flatMap((key) => Object.keys(key as object));
        if (keyIds.some((keyId) => !keyId.includes(':'))) throw new Error('invalid key id');
        for (const deviceId of Object.keys(ofUser)) if (!library.signatureIsWrong) sessions.add(userId + deviceId);
      }
      library.marked = {};
      return Promise.resolve();
    },
    trackedUsers: async () =>
      new Set([...library.users].filter((id) => !library.strangers.has(id)).map((id) => new UserId(id))),
    queryKeysForUsers: ([user]: UserId[]) => ({ queries: user?.id }),
    deviceId: new DeviceId('ME'),
    getUserDevices: async (user: UserId) => {
      await library.onLookUp(user.id);
      return { free: () => {}, devices: () => Array.from({ length: library.devices }, (_, n) => deviceOf(user.id, n)) };
    },
    getDevice: async (user: UserId, { id }: DeviceId) => deviceOf(user.id, Number(id.slice(1))),
  };
  const processor = {
    makeOutgoingRequest: async ({ queries }: { queries: string }) => {
      queried.push(queries);
      await library.onQuery(queries);
    },
    rawJsonRequest: async (method: string, path: string, _query: object, json: string) => {
      const body = JSON.parse(json) as Sent['body'];
      sent.push({ method, path, body });
      await library.answer();
      const claims = Object.entries(body.one_time_keys ?? {}).map(([userId, ofUser]) => [
        userId,
        Object.fromEntries(
          Object.keys(ofUser)
            .filter((deviceId) => !library.exhausted.has(userId + deviceId))
            .map((deviceId) => [
              deviceId,
              userId in library.keys ? library.keys[userId] : { 'signed_curve25519:A': {} },
            ]),
        ),
      ]);
      return JSON.stringify({ one_time_keys: Object.fromEntries(claims) as Keys, failures: {} });
    },
  };
  const crypto = { olmMachine, outgoingRequestProcessor: processor } as unknown as CryptoBackend;
  const run = <T>(_name: string, call: () => Promise<T>): Promise<T> => call();
  void new OlmSessionRecovery({ clock, logger }, { crypto, run, store, ended: ended.signal });
  return {
    clock,
    store,
    library,
    logger,
    sent,
    sessions,
    queried,
    end: () => ended.abort(),
    machine: crypto.olmMachine,
    /** A sync with these messages; then time for what follows. */
    sync: async (...messages: object[]): Promise<void> => {
      await crypto.olmMachine.receiveSyncChanges(...messages);
      await clock.advance(0);
    },
    claims: () => sent.filter(({ path }) => path.endsWith('/keys/claim')).map(({ body }) => body.one_time_keys),
    dummies: () => sent.filter(({ path }) => path.includes('/sendToDevice/')).map(({ body }) => body.messages),
  };
}

function undecryptable(sender: string, deviceId: string, more: object = {}): object {
  const content = {
    algorithm: 'm.olm.v1.curve25519-aes-sha2',
    sender_key: keyOf(deviceId),
    ciphertext: { [OWN_KEY]: { type: 1, body: 'x' } },
    ...more,
  };
  return { type: 1, rawEvent: JSON.stringify({ type: 'm.room.encrypted', sender, content }) };
}

/** A client that is past its first sync. */
async function liveClient(options: Parameters<typeof client>[0] = {}) {
  const live = client(options);
  await live.sync();
  return live;
}

it('claims a key and sends an m.dummy in the new session, once an hour', async () => {
  const { sync, sent, clock, store } = await liveClient();
  const flood = Array.from({ length: 50 }, () => undecryptable('@bob:x', 'D1'));
  for (let n = 0; n < 20; n++) await sync(...flood);
  const claim = { '@bob:x': { D1: 'signed_curve25519' } };
  const dummy = { '@bob:x': { D1: { ciphertext: { [keyOf('D1')]: { type: 0 } } } } };
  const paths = ['/_matrix/client/v3/keys/claim', expect.stringMatching(/sendToDevice\/m\.room\.encrypted\/.+/)];
  expect(sent).toEqual([
    { method: 'POST', path: paths[0], body: { one_time_keys: claim, timeout: 10_000 } },
    { method: 'PUT', path: paths[1], body: { messages: dummy } },
  ]);
  await clock.advance(HOUR_MS - 1);
  await sync(...flood);
  expect(sent).toHaveLength(2);
  const later = await liveClient({ clock, store }); // another process
  await later.sync(...flood);
  expect(later.sent).toHaveLength(0);
  await clock.advance(1);
  await later.sync(...flood);
  expect(later.sent).toHaveLength(2);
});

it('does so for devices that say they could make no session, and for those that the library has marked', async () => {
  const { sync, machine, library, claims, dummies, clock } = await liveClient();
  const withheld = { code: 'm.no_olm', sender_key: keyOf('D0'), algorithm: 'm.megolm.v1.aes-sha2' };
  const notice = (content: object) => ({
    type: 2,
    rawEvent: JSON.stringify({ type: 'm.room_key.withheld', sender: '@bob:x', content }),
  });
  await sync(notice({ ...withheld, code: 'm.unverified' }), notice({ ...withheld, sender_key: 7 }));
  expect(claims()).toEqual([]);
  await sync(notice(withheld));
  library.marked = { '@carol:x': { D2: 'signed_curve25519' } };
  expect(await machine.outgoingRequests()).toEqual([{ type: 1 }]);
  await clock.advance(0);
  expect(claims()).toEqual([{ '@bob:x': { D0: expect.any(String) } }, { '@carol:x': { D2: expect.any(String) } }]);
  expect(dummies()).toHaveLength(2);
});

it('makes no session for what is no sign of a broken one', async () => {
  const { sync, sent, queried } = await liveClient();
  const bob = '@bob:x';
  await sync(
    undecryptable(bob, 'D1', { algorithm: 'm.megolm.v1.aes-sha2' }),
    undecryptable(bob, 'D1', { ciphertext: { 'key of another': {} } }),
    undecryptable(bob, 'D1', { ciphertext: [OWN_KEY] }),
    undecryptable(bob, 'D1', { sender_key: OWN_KEY }),
    undecryptable(bob, 'D1', { sender_key: { toString: 1 } }),
    { type: 1, rawEvent: JSON.stringify({ type: 'm.room.encrypted', sender: bob, content: [] }) },
    { type: 1, rawEvent: JSON.stringify({ type: 'm.room.encrypted', sender: 1, content: {} }) },
    { type: 1, rawEvent: 'null' },
    { ...undecryptable(bob, 'D1'), type: 0 },
    { type: 3, rawEvent: 'no JSON' },
    undecryptable('no user', 'D1'),
  );
  expect([sent, queried]).toEqual([[], []]);
});

it('fetches the devices of a sender whose device is not known, once an hour', async () => {
  const { sync, queried, library, claims, clock } = await liveClient();
  for (const deviceId of ['D7', 'D8', '__proto__']) await sync(undecryptable('@bob:x', deviceId));
  expect([queried, claims()]).toEqual([['@bob:x'], []]);
  await clock.advance(HOUR_MS);
  library.devices = 8;
  await sync(undecryptable('@bob:x', 'D7'));
  expect(claims()).toEqual([{ '@bob:x': { D7: expect.any(String) } }]);
});

it('bounds what one user and what all can cause', async () => {
  const { sync, claims } = await liveClient({ devices: 500 });
  await sync(...Array.from({ length: 500 }, (_, n) => undecryptable('@mallory:x', `D${n}`)));
  expect(Object.keys(claims()[0]?.['@mallory:x'] ?? {})).toHaveLength(20);
  for (let n = 0; n < 500; n++) await sync(undecryptable(`@puppet${n}:x`, 'D1'));
  expect(claims()).toHaveLength(1 + 180);
});

it('makes no session where only the messages of a killed process come again, and one where there is none', async () => {
  const { sync, claims, library, clock } = client();
  library.missing = { '@carol:x': { D1: 'signed_curve25519', D2: 'signed_curve25519' } };
  const full = Array.from({ length: 100 }, () => undecryptable('@bob:x', 'D1'));
  await sync(...full, undecryptable('@carol:x', 'D1'));
  await sync(undecryptable('@bob:x', 'D2')); // the rest of what waited
  expect(claims()).toEqual([{ '@carol:x': { D1: expect.any(String) } }]);
  await sync(undecryptable('@bob:x', 'D2'));
  await clock.advance(0);
  expect(claims().slice(1)).toEqual([{ '@bob:x': { D2: expect.any(String) } }]);
});

it('claims no key in a loop, or with each message, for a device that has none', async () => {
  const { sync, machine, library, claims, clock, dummies } = await liveClient();
  library.exhausted.add('@bob:xD1');
  library.missing = { '@bob:x': { D1: 'signed_curve25519' }, '@carol:x': { D2: 'signed_curve25519' } };
  await sync(undecryptable('@bob:x', 'D1'));
  library.marked = { '@bob:x': { D1: 'signed_curve25519' } };
  for (let n = 0; n < 100; n++) {
    expect(await machine.outgoingRequests()).toEqual([{ type: 1 }]);
    const claim = (await machine.getMissingSessions([])) as OutgoingRequest;
    expect(claim).toBeInstanceOf(KeysClaimRequest);
    expect([claim.id, JSON.parse(claim.body)]).toEqual([
      'id',
      { timeout: 1, one_time_keys: { '@carol:x': { D2: 'signed_curve25519' } } },
    ]);
  }
  delete library.missing['@carol:x'];
  expect(await machine.getMissingSessions([])).toBeUndefined();
  await clock.advance(24 * HOUR_MS);
  expect(claims().length).toBeGreaterThan(5);
  expect(claims().length).toBeLessThan(30);
  library.exhausted.clear();
  await clock.advance(HOUR_MS);
  await machine.outgoingRequests();
  await clock.advance(2 * HOUR_MS);
  expect(dummies()).toHaveLength(1);
  expect(await machine.getMissingSessions([])).toBeDefined();
});

it('waits longer after each failed request, and goes on where it stopped', async () => {
  const { sync, library, claims, dummies, clock, logger } = await liveClient();
  library.answer = () => Promise.reject(new Error('503'));
  await sync(undecryptable('@bob:x', 'D1'));
  for (let n = 0; n < 100; n++) await sync(undecryptable('@bob:x', 'D2'));
  expect(claims()).toHaveLength(1);
  await clock.advance(HOUR_MS);
  expect(claims().length).toBeGreaterThan(5);
  expect(claims().length).toBeLessThan(20);
  expect(logger.entries.filter(({ level }) => level === 'warn').length).toBe(claims().length);
  let requests = 0;
  library.answer = async () => {
    if (requests++ > 0) throw new Error('503'); // the claim succeeds, and the message is not sent
  };
  await clock.advance(600_000);
  const claimed = claims().length;
  expect(dummies().length).toBeGreaterThan(0);
  library.answer = async () => {};
  await clock.advance(600_000);
  expect(claims()).toHaveLength(claimed);
  expect(Object.keys(dummies().at(-1)?.['@bob:x'] ?? {})).toEqual(['D1', 'D2']);
  const { length } = dummies();
  await clock.advance(HOUR_MS);
  expect(dummies()).toHaveLength(length);
});

it.each([
  ['before the claim', 0, 1],
  ['between the claim and the m.dummy', 1, 0],
])('goes on after a kill %s', async (_when, requests, laterClaims) => {
  const store = memoryRecords();
  const first = await liveClient({ store });
  let passed = 0;
  first.library.answer = () => (passed++ < requests ? Promise.resolve() : new Promise(() => {}));
  await first.sync(undecryptable('@bob:x', 'D1'));
  expect(first.sent).toHaveLength(requests + 1);
  first.end();
  const next = client({ clock: first.clock, store });
  // The session that was made before the kill is in the crypto library's own store.
  if (requests > 0) await next.machine.markRequestAsSent('', KEYS_CLAIM, '{"one_time_keys":{"@bob:x":{"D1":{}}}}');
  await first.clock.advance(0);
  expect(next.claims()).toHaveLength(laterClaims);
  expect(next.dummies()).toHaveLength(1);
});

it.each(['waiting for a retry', 'waiting for a key', 'in a request'])(
  'leaves no timer and makes no request after the client has ended, %s',
  async (state) => {
    const { sync, library, clock, sent, end } = await liveClient();
    if (state === 'waiting for a retry') library.answer = () => Promise.reject(new Error('503'));
    if (state === 'waiting for a key') library.exhausted.add('@bob:xD1');
    if (state === 'in a request') library.answer = () => new Promise(() => {});
    await sync(undecryptable('@bob:x', 'D1'));
    expect(clock.pendingTimers).toBe(state === 'in a request' ? 0 : 1);
    end();
    await clock.advance(0);
    expect(clock.pendingTimers).toBe(0);
    const { length } = sent;
    await clock.advance(HOUR_MS);
    expect(sent).toHaveLength(length);
  },
);

it('sends nothing in an old session after a key with a wrong signature', async () => {
  const { sync, library, claims, dummies, clock } = await liveClient();
  library.signatureIsWrong = true;
  await sync(undecryptable('@bob:x', 'D1'));
  expect([claims().length, dummies().length]).toEqual([1, 0]);
  library.signatureIsWrong = false;
  await clock.advance(120_000);
  expect([claims().length, dummies().length]).toEqual([2, 1]);
});

it('stores what needs a new session before the sync has ended', async () => {
  const { machine, store } = await liveClient();
  await machine.receiveSyncChanges(undecryptable('@bob:x', 'D1'));
  expect(received.get(store)).toBeGreaterThanOrEqual(1);
});

it.each([
  ['a key id without an algorithm', { junk: {} }],
  ['no keys', {}],
  ['a text', 'junk'],
  ['a list', [1]],
  ['null', null],
])('makes the sessions of others where the homeserver of one user answers a claim with %s', async (_what, answer) => {
  const { sync, library, claims, dummies, clock } = await liveClient();
  library.keys['@evil:y'] = answer;
  await sync(undecryptable('@evil:y', 'D1'), undecryptable('@bob:x', 'D1'), undecryptable('@carol:x', 'D2'));
  expect(dummies()).toEqual([{ '@bob:x': { D1: expect.anything() }, '@carol:x': { D2: expect.anything() } }]);
  for (let n = 0; n < 12 * 12; n++) await clock.advance(HOUR_MS / 12);
  const claimed = claims().map((claim) => Object.keys(claim ?? {}));
  expect(
    claimed
      .slice(1)
      .flat()
      .every((userId) => userId === '@evil:y'),
  ).toBe(true);
  expect(claimed.length).toBeLessThanOrEqual(12);
});

it.each(['onQuery', 'onLookUp'] as const)('makes the sessions of others where %s fails for one user', async (step) => {
  const { sync, library, claims, dummies, queried, clock } = await liveClient();
  library[step] = async (userId) => {
    if (userId === '@evil:y') throw new Error('junk');
  };
  await sync(undecryptable('@evil:y', 'D7'), undecryptable('@evil:y', 'D1'), undecryptable('@bob:x', 'D1'));
  const users = step === 'onQuery' ? ['@evil:y', '@bob:x'] : ['@bob:x'];
  expect(dummies().map((messages) => Object.keys(messages ?? {}))).toEqual([users]);
  for (let n = 0; n < 100; n++) await sync(undecryptable('@evil:y', `D${n + 10}`));
  expect(queried.length).toBeLessThanOrEqual(1);
  for (let n = 0; n < 12 * 12; n++) await clock.advance(HOUR_MS / 12);
  expect(claims()).toHaveLength(1);
  expect(queried.length).toBeLessThan(50);
});

it('makes the session after a query that has failed once', async () => {
  const { sync, library, dummies, clock } = await liveClient();
  library.onQuery = () => Promise.reject(new Error('503'));
  await sync(undecryptable('@bob:x', 'D7'));
  library.onQuery = async () => void (library.devices = 8);
  for (let n = 0; n < 20; n++) await clock.advance(60_000);
  expect(dummies()).toEqual([{ '@bob:x': { D7: expect.anything() } }]);
});

it('is not switched off by strangers, by keys of no device, or by their size', async () => {
  const { sync, library, claims, dummies, queried, store } = await liveClient();
  for (let user = 0; user < 20; user++) {
    const sender = `@stranger${user}:y`;
    if (user < 10) library.strangers.add(sender);
    for (let n = 0; n < 20; n++)
      await sync(undecryptable(sender, `X${n}`), undecryptable(sender, 'D1'.padEnd(30_000, 'x')));
  }
  expect(claims()).toEqual([]);
  expect(queried.length).toBe(10);
  await sync(undecryptable('@bob:x', 'D1'));
  expect(dummies()).toEqual([{ '@bob:x': { D1: expect.anything() } }]);
  expect((await store.readSideRecord('olm recoveries'))?.length).toBeLessThan(500);
});

it('makes a session for a device whose messages are unreadable in the first sync of two starts', async () => {
  const store = memoryRecords();
  const clock = new ManualClock();
  const wake = async () => {
    const woken = client({ clock, store });
    await clock.advance(0);
    await woken.sync(undecryptable('@bob:x', 'D1'), undecryptable('@bob:x', 'D1'));
    woken.end();
    await clock.advance(60_000);
    return [woken.claims().length, woken.dummies().length];
  };
  expect(await wake()).toEqual([0, 0]);
  expect(await wake()).toEqual([1, 1]);
  expect(await wake()).toEqual([0, 0]);
});

it('makes a session after another unreadable message, though the library claims none for a device without keys', async () => {
  const { sync, claims, clock } = client();
  await sync(undecryptable('@bob:x', 'D1'));
  await clock.advance(HOUR_MS);
  expect([claims(), clock.pendingTimers]).toEqual([[], 0]);
  await sync(undecryptable('@bob:x', 'D1'));
  expect(claims()).toHaveLength(1);
});

it('makes sessions though many devices wait for another unreadable message', async () => {
  const { sync, claims } = client({ devices: 20 });
  const waiting = Array.from({ length: 200 }, (_, n) => undecryptable(`@user${n % 10}:x`, `D${Math.floor(n / 10)}`));
  await sync(...waiting);
  await sync();
  await sync(undecryptable('@bob:x', 'D1'), undecryptable('@user1:x', 'D3'));
  expect(claims().map((claim) => Object.keys(claim ?? {}))).toEqual([['@user1:x', '@bob:x']]);
});

it('keeps the waits between claims over a restart', async () => {
  const { store, clock, library, sync, claims, end } = await liveClient();
  library.exhausted.add('@bob:xD1');
  await sync(undecryptable('@bob:x', 'D1'));
  await clock.advance(HOUR_MS);
  const { length } = claims();
  end();
  for (let n = 0; n < 20; n++) {
    const next = client({ clock, store });
    next.library.exhausted.add('@bob:xD1');
    await clock.advance(1_000);
    expect(next.claims()).toEqual([]);
    next.end();
  }
  expect(length).toBeGreaterThan(3);
  const last = client({ clock, store });
  await clock.advance(HOUR_MS);
  expect(last.dummies()).toHaveLength(1);
});

it('lets messages claim a key once in five minutes of a device that had none', async () => {
  const { sync, library, machine, clock } = await liveClient();
  library.exhausted.add('@bob:xD1');
  library.missing = { '@bob:x': { D1: 'signed_curve25519' } };
  await sync(undecryptable('@bob:x', 'D1'));
  await clock.advance(2 * HOUR_MS); // a recovery now waits for an hour
  let claimed = 0;
  for (let second = 0; second < 3_000; second += 10) {
    await clock.advance(10_000);
    if (await machine.getMissingSessions([])) claimed++;
  }
  expect(claimed).toBeGreaterThanOrEqual(8);
  expect(claimed).toBeLessThanOrEqual(10);
});

it('looks up the devices of a user once for all that need a session', async () => {
  const { sync, library, dummies } = await liveClient({ devices: 200 });
  let lookUps = 0;
  library.onLookUp = async () => void lookUps++;
  await sync(...Array.from({ length: 20 }, (_, n) => undecryptable('@bob:x', `D${n}`)));
  expect(Object.keys(dummies()[0]?.['@bob:x'] ?? {})).toHaveLength(20);
  expect(lookUps).toBe(1);
});

it("makes the sessions of messages where one user's homeserver answers their claim with junk", async () => {
  const { machine, sessions } = await liveClient();
  const key = { 'signed_curve25519:A': {} };
  const keys = { '@bob:x': { D1: key }, '@evil:y': { D1: { junk: {} } }, '@worse:y': 'junk', '@carol:x': { D2: key } };
  await machine.markRequestAsSent('id', KEYS_CLAIM, JSON.stringify({ one_time_keys: keys, failures: {} }));
  expect([...sessions]).toEqual(['@bob:xD1', '@carol:xD2']);
  await expect(machine.markRequestAsSent('id', KEYS_CLAIM, '{"one_time_')).rejects.toThrow(SyntaxError);
});
