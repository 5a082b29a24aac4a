import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, onTestFinished } from 'vitest';
import { isManagerError, memoryStorage } from '../../src/index.js';
import type {
  ConnectOptions,
  MatrixClientManager,
  MatrixClientManagerOptions,
  ResetIdentityOptions,
  SqliteStorageOptions,
  StartClientOptions,
} from '../../src/index.js';
import type { ManualClock } from '../../src/testing/index.js';
import { fetchTransport } from '../../src/http/fetch-transport.js';
import { MemoryLogger } from '../../src/testing/index.js';
import { temporaryFolder } from '../storage/temporary-folder.js';
import { advanceUntil } from '../support/advance-until.js';
import { managerOnFake } from '../support/manager-on-fake.js';

const alice = '@alice:hs.test';
const bob = '@bob:hs.test';

type AnyFunction = (...args: never[]) => unknown;
/** The options of T that are functions, and those functions that their objects have, as `option.function`. */
type FunctionsOf<T> = {
  [K in keyof T & string]: NonNullable<T[K]> extends infer V
    ? V extends AnyFunction
      ? K
      : V extends AbortSignal | Uint8Array
        ? never
        : V extends readonly (infer E)[]
          ? E extends AnyFunction
            ? K
            : never
          : V extends object
            ? `${K}.${{ [M in keyof V & string]: NonNullable<V[M]> extends AnyFunction ? M : never }[keyof V & string]}`
            : never
    : never;
}[keyof T & string];
type GivenFunction =
  | FunctionsOf<MatrixClientManagerOptions>
  | FunctionsOf<StartClientOptions>
  | FunctionsOf<ConnectOptions>
  | FunctionsOf<ResetIdentityOptions>
  | FunctionsOf<SqliteStorageOptions>;

const here = 'the table below';
/** Where each function that the application gives us is tested to be contained. The compiler asks for new ones. */
const places: Record<GivenFunction, string> = {
  credentials: here,
  'credentials.get': here,
  'credentials.set': here,
  'credentials.delete': here,
  'encryption.onVerificationRequest': 'test/encryption/verification-requests.test.ts',
  'storage.getCredentials': here,
  'storage.setCredentials': here,
  'storage.deleteCredentials': here,
  'storage.loadCheckpoint': here,
  'storage.commit': here,
  'storage.addDeadLetter': here,
  'storage.listDeadLetters': here,
  'storage.deleteDeadLetter': here,
  'storage.enqueueSend': here,
  'storage.listSends': here,
  'storage.completeSend': here,
  'storage.failSend': here,
  'storage.deleteSend': here,
  'storage.deleteUser': here,
  'storage.getEncryptedRooms': here,
  'storage.setEncryptedRooms': here,
  'storage.addOnceEvents': here,
  'storage.findOnceEvents': here,
  'storage.close': here,
  'provisioner.ensureUser': here,
  'provisioner.openSession': here,
  'provisioner.closeSession': here,
  'provisioner.deactivateUser': here,
  'logger.debug': here,
  'logger.info': here,
  'logger.warn': here,
  'logger.error': here,
  'connectionPolicy.decide': here,
  'clock.now': here,
  'clock.clearTimeout': here,
  'clock.setTimeout': 'the last test here', // its timers become the system's, which these tests do not wait for
  'encryption.users': here,
  'encryption.onRecoveryKey': 'test/encryption/application-calls.test.ts',
  'encryption.recoveryKey': 'test/encryption/application-calls.test.ts',
  'encryption.onCorruption': 'test/storage/corruption-report.test.ts',
  onCorruption: 'test/storage/corruption-report.test.ts',
  fetch: 'below',
  'transport.open': 'below',
  'meterProvider.getMeter': 'test/telemetry/contained-telemetry.test.ts',
  'tracerProvider.getTracer': 'test/telemetry/contained-telemetry.test.ts',
  callbacks: 'test/callbacks/callbacks-of-a-client.test.ts',
  callback: 'test/callbacks/callbacks-of-a-client.test.ts',
  authenticate: 'test/encryption/bounded-authentication.test.ts',
};

/** What a function of the application may do instead of its work. */
const misdeeds = {
  throws: () => {
    throw new Error('no');
  },
  rejects: () => Promise.reject(new Error('no')),
  hangs: () => new Promise(() => {}),
  'returns nothing': () => {},
  'returns another object': () => ({ rooms: 7, send: 5 }),
} satisfies Record<string, () => unknown>;

type Misdeed = () => unknown;

/** `target` with one method in whose place the misdeed stands while `state.on`. */
function spoiled<T extends object>(target: T, name: string, misdeed: Misdeed, state: { on: boolean }): T {
  return new Proxy(target, {
    get(object, key) {
      const value: unknown = Reflect.get(object, key);
      if (typeof value !== 'function') return value;
      return (...args: unknown[]): unknown =>
        state.on && (key === name || name === '*')
          ? misdeed()
          : (value as Misdeed & ((...all: unknown[]) => unknown)).apply(object, args);
    },
  });
}

type Spoil = (misdeed: Misdeed, state: { on: boolean }, clock: ManualClock) => Partial<MatrixClientManagerOptions>;

const credentialsTable = () => ({ get: async () => undefined, set: async () => {}, delete: async () => {} });
const policy = { decide: ({ now }: { now: number }) => ({ mode: 'live' as const, reviewAt: now + 60_000 }) };
const provisioner = (): MatrixClientManagerOptions['provisioner'] => ({
  capabilities: { renewsSessions: true, deactivatesUsers: true },
  ensureUser: async () => ({ created: true }),
  openSession: async ({ userId }) => ({ userId, accessToken: 'none', deviceId: 'D' }),
  closeSession: async () => {},
  deactivateUser: async () => {},
});

const storageMethods = Object.getOwnPropertyNames(memoryStorage().constructor.prototype).filter(
  (name) => name !== 'constructor',
);

const functions: Record<string, Spoil> = {
  credentials: (misdeed, state) => ({ credentials: async () => (state.on ? misdeed() : undefined) as undefined }),
  ...Object.fromEntries(
    ['get', 'set', 'delete'].map((name): [string, Spoil] => [
      `credentials.${name}`,
      (misdeed, state) => ({ credentials: spoiled(credentialsTable(), name, misdeed, state) }),
    ]),
  ),
  'encryption.users': (misdeed, state) => ({
    encryption: {
      path: join(temporaryFolder(), 'keys.sqlite'),
      secret: new Uint8Array(32).fill(7),
      users: () => (state.on ? misdeed() : false) as boolean,
    },
  }),
  ...Object.fromEntries(
    storageMethods.map((name): [string, Spoil] => [
      `storage.${name}`,
      (misdeed, state) => ({ storage: spoiled(memoryStorage(), name, misdeed, state) }),
    ]),
  ),
  ...Object.fromEntries(
    ['ensureUser', 'openSession', 'closeSession', 'deactivateUser'].map((name): [string, Spoil] => [
      `provisioner.${name}`,
      (misdeed, state) => ({ provisioner: spoiled(provisioner() as object, name, misdeed, state) as never }),
    ]),
  ),
  logger: (misdeed, state) => ({ logger: spoiled(new MemoryLogger(), '*', misdeed, state) }),
  'connectionPolicy.decide': (misdeed, state) => ({ connectionPolicy: spoiled(policy, 'decide', misdeed, state) }),
  'clock.clearTimeout': (misdeed, state, clock) => ({ clock: spoiled(clock, 'clearTimeout', misdeed, state) }),
  'clock.now': (misdeed, state, clock) => ({ clock: spoiled(clock, 'now', misdeed, state) }),
};

const unhandled: unknown[] = [];
const note = (error: unknown): void => void unhandled.push(error);
beforeEach(() => {
  unhandled.length = 0;
  process.on('unhandledRejection', note);
  process.on('uncaughtException', note);
});
afterEach(async () => {
  await new Promise((resolve) => setImmediate(resolve));
  process.off('unhandledRejection', note);
  process.off('uncaughtException', note);
  if (unhandled.length > 0) throw new Error('the process would have ended', { cause: unhandled[0] });
});

function setUp(options: (clock: ManualClock) => Partial<MatrixClientManagerOptions>) {
  const given: { options: Partial<MatrixClientManagerOptions> } = { options: {} };
  const world = managerOnFake();
  given.options = options(world.clock);
  const { fake, clock, make } = world;
  const soon = <T>(work: Promise<T>): Promise<T> => advanceUntil(clock, work, { stepMs: 5_000 });
  const user = fake.createUser({ username: 'alice' });
  fake.createUser({ username: 'bob' });
  const roomId = fake.createRoom({ creator: bob, members: [alice] });
  const manager = make({ fetch: fake.fetch, clock, ...given.options });
  onTestFinished(async () => {
    await soon(manager.shutdown().catch(() => {}));
    await soon(world.manager.shutdown());
    await fake.close();
  });
  return { ...world, soon, manager, user, roomId };
}

/** How the work ends: `done`, or the code of its error. */
async function ending(soon: <T>(work: Promise<T>) => Promise<T>, work: Promise<unknown>): Promise<string> {
  try {
    await soon(work);
    return 'done';
  } catch (error) {
    return isManagerError(error) ? error.code : `no code: ${String(error)}`;
  }
}

const bounded = /^(done|[A-Z_]+)$/;
/** A shutdown ends whatever fails on the way, and says afterwards what that was. */
const both = [() => 'ended', () => 'ended'] as const;

describe.each(Object.entries(functions))('%s', (_name, spoil) => {
  it.each(Object.entries(misdeeds))('that %s ends no process, and nothing hangs', async (_title, misdeed) => {
    const state = { on: false };
    const { manager, soon, user, roomId, fake, clock } = setUp((manual) => spoil(misdeed, state, manual));
    const bodies: string[] = [];
    let fails = 0;
    manager.addCallback(alice, (event) => {
      if (event.type !== 'message') return;
      if (event.content.body === 'bad' && fails++ < 3) throw new Error('no');
      bodies.push(String(event.content.body));
    });
    state.on = true;
    expect(await ending(soon, manager.startClient(user))).toMatch(bounded);
    state.on = false;
    await soon(manager.startClient(user));
    state.on = true;
    // A durable message waits while the storage does not say whether the room was seen encrypted.
    const patience = new AbortController();
    clock.setTimeout(() => patience.abort(), 300_000);
    const durable = { userId: alice, roomId, durable: true, signal: patience.signal };
    const calls: Promise<unknown>[] = [
      manager.provisionUser({ username: 'carol' }),
      manager.sendMessage({ ...durable, text: '1' }),
      manager.sendMessage({ ...durable, text: '2' }),
      manager.listSends(),
      manager.deadLetters(alice),
      manager.retryDeadLetter(alice, '$none'),
      manager.discardSend(alice, 'none'),
      manager.getRoomMessages({ roomId, userId: alice }),
      manager.startClient({ userId: '@dora:hs.test' }),
      manager.checkHealth(),
    ];
    for (const end of await Promise.all(calls.map((call) => ending(soon, call)))) expect(end).toMatch(bounded);
    fake.sendMessage(roomId, bob, 'bad');
    await clock.advance(60_000);
    state.on = false;
    fake.sendMessage(roomId, bob, 'after');
    await clock.advance(120_000);
    expect(bodies).toContain('after');
    state.on = true;
    expect(await ending(soon, manager.stopClient(alice))).toMatch(bounded);
    expect(await soon(manager.shutdown().then(...both))).toBe('ended');
  });
});

describe('a listener of the manager', () => {
  const begin = (listener: (manager: MatrixClientManager) => unknown) => {
    const world = setUp(() => ({}));
    const { manager } = world;
    for (const name of ['clientStarted', 'clientStateChanged', 'clientStopped'] as const) {
      manager.on(name, () => listener(manager) as void);
    }
    return world;
  };

  it.each(Object.entries(misdeeds))('that %s is logged at most, and harms nobody', async (_title, misdeed) => {
    const { manager, soon, user } = begin(misdeed);
    await soon(manager.startClient(user));
    expect(await soon(manager.stopClient(alice))).toBe(true);
    await soon(manager.shutdown());
  });

  it('may call the manager, and shut it down', async () => {
    const { manager, soon, user } = begin((one) => {
      one.stats();
      one.listClients();
      one.hasClient(alice);
    });
    await soon(manager.startClient(user));
    manager.on('clientStopped', () => manager.shutdown() as unknown as void);
    expect(await soon(manager.stopClient(alice))).toBe(true);
    await soon(manager.shutdown());
  });
});

describe('a transport', () => {
  it.each(Object.entries(misdeeds))('whose send() %s fails calls with a code', async (_title, misdeed) => {
    const state = { on: true };
    const { manager, soon, user, roomId } = setUp((_clock) => ({
      fetch: undefined as never,
      transport: { open: () => spoiled(fetchTransport(globalThis.fetch).open(), 'send', misdeed, state) },
    }));
    expect(await ending(soon, manager.startClient(user))).toMatch(bounded);
    expect(await ending(soon, manager.sendMessage({ userId: alice, roomId, text: 'hello' }))).toMatch(bounded);
    expect(await soon(manager.shutdown().then(...both))).toBe('ended');
  });

  it.each(Object.entries(misdeeds))('whose open() %s is INVALID_OPTIONS', (_title, misdeed) => {
    const make = () => managerOnFake({ fetch: undefined as never, transport: { open: misdeed as never } });
    expect(make).toThrow(expect.objectContaining({ code: 'INVALID_OPTIONS' }) as Error);
  });

  it.each(Object.entries(misdeeds))('whose close() %s does not hold a shutdown up', async (_title, misdeed) => {
    const { manager, soon } = setUp(() => ({
      fetch: undefined as never,
      transport: { open: () => spoiled(fetchTransport(globalThis.fetch).open(), 'close', misdeed, { on: true }) },
    }));
    expect(await soon(manager.shutdown().then(...both))).toBe('ended');
  });
});

/** What a fetch function, or a transport, may answer instead of a response. */
const junkAnswers: Record<string, () => unknown> = {
  ...misdeeds,
  'answers null': async () => null,
  'answers a plain object': async () => ({ status: 200, ok: true, json: () => ({}) }),
  'answers with a body that errors': async () =>
    new Response(
      new ReadableStream({
        pull(controller) {
          controller.error(new Error('the body broke'));
        },
      }),
    ),
  'answers with a body that never ends': async () => new Response(new ReadableStream({})),
};

describe('a fetch', () => {
  it.each(Object.entries(junkAnswers))(
    'that %s fails calls with a code, and they work again after it',
    async (_, junk) => {
      const state = { on: false };
      const world = setUp(() => ({}));
      const { fake, clock, make, soon, user, roomId } = world;
      const fetch = ((...args: Parameters<typeof fake.fetch>) =>
        state.on ? junk() : fake.fetch(...args)) as typeof fake.fetch;
      const manager = make({ fetch, clock });
      await soon(manager.startClient(user));
      state.on = true;
      const calls: Promise<unknown>[] = [
        manager.sendMessage({ userId: alice, roomId, text: 'hello' }),
        manager.getRoomMessages({ roomId, userId: alice }),
        manager.sendFile({ userId: alice, roomId, file: { name: 'x', body: new Uint8Array(9) } }),
        manager.downloadFile({ userId: alice, content: { body: 'x', url: 'mxc://hs.test/x' } }),
        manager.provisionUser({ username: 'carol' }),
        manager.checkHealth(),
      ];
      for (const end of await Promise.all(calls.map((call) => ending(soon, call)))) expect(end).toMatch(bounded);
      state.on = false;
      await clock.advance(120_000);
      expect(await ending(soon, manager.sendMessage({ userId: alice, roomId, text: 'after' }))).toBe('done');
      expect(await soon(manager.shutdown().then(...both))).toBe('ended');
    },
  );
});

describe('a body given to sendFile', () => {
  const chunk = new Uint8Array(4);
  const bodies: Record<string, () => unknown> = {
    'is null': () => null,
    'is a text': () => 'text',
    'throws at once': () => ({
      [Symbol.asyncIterator]: () => {
        throw new Error('no');
      },
    }),
    'throws mid-way': async function* throwing() {
      yield chunk;
      throw new Error('no');
    },
    'hangs at once': () => ({ [Symbol.asyncIterator]: () => ({ next: () => new Promise(() => {}) }) }),
    'hangs mid-way': async function* hanging() {
      yield chunk;
      await new Promise(() => {});
    },
    'gives texts': async function* texts() {
      yield 'text';
    },
    'gives nothing at all for chunks': async function* nulls() {
      yield null;
    },
    'answers no iterator': () => ({ [Symbol.asyncIterator]: () => 7 }),
    'answers no step': () => ({ [Symbol.asyncIterator]: () => ({ next: () => 7 }) }),
    'is a stream that errors': () =>
      new ReadableStream({
        pull(controller) {
          controller.error(new Error('no'));
        },
      }),
  };
  it.each(
    Object.entries(bodies).flatMap(([title, body]) => [undefined, 8].map((size) => [title, size, body] as const)),
  )('that %s (size: %s) fails the call with a code, and the next one works', async (_title, size, body) => {
    const { manager, soon, user, roomId } = setUp(() => ({}));
    await soon(manager.startClient(user));
    const file = { name: 'x', body: body() as never, ...(size !== undefined && { size }) };
    expect(await ending(soon, manager.sendFile({ userId: alice, roomId, file }))).toMatch(/^[A-Z_]+$/);
    const next = { name: 'x', body: chunk };
    expect(await ending(soon, manager.sendFile({ userId: alice, roomId, file: next }))).toBe('done');
    await soon(manager.shutdown());
  });
});

describe('a connectionPolicy', () => {
  it.each([
    ['stops the client', (manager: MatrixClientManager) => manager.stopClient(alice)],
    ['starts the client', (manager: MatrixClientManager) => manager.startClient({ userId: alice })],
    [
      'stops and starts it',
      (manager: MatrixClientManager) =>
        Promise.all([manager.stopClient(alice), manager.startClient({ userId: alice })]),
    ],
    ['shuts the manager down', (manager: MatrixClientManager) => manager.shutdown()],
  ])('that %s while it decides leaves one client or none, and no process ends', async (_, act) => {
    let inside = 0;
    let decided = 0;
    const world = setUp(() => ({
      sweepIntervalMs: 10_000,
      connectionPolicy: {
        decide: ({ now }) => {
          if (decided++ < 20 && inside === 0) {
            inside++;
            void act(world.manager).then(
              () => inside--,
              () => inside--,
            );
          }
          return { mode: 'live', reviewAt: now + 10_000 };
        },
      },
    }));
    const { manager, soon, user, clock } = world;
    expect(await ending(soon, manager.startClient(user))).toMatch(bounded);
    await clock.advance(300_000);
    expect(decided).toBeGreaterThan(0);
    expect(manager.listClients().length).toBeLessThanOrEqual(1);
    expect(await soon(manager.shutdown().then(...both))).toBe('ended');
  });
});

describe('every function that the application gives us', () => {
  const tested = Object.keys(functions).flatMap((name) =>
    name === 'logger' ? ['debug', 'info', 'warn', 'error'].map((level) => `logger.${level}`) : [name],
  );
  it('has a row in the table, or a test elsewhere', () => {
    const inTable = Object.entries(places).flatMap(([name, place]) => (place === here ? [name] : []));
    expect(tested.toSorted()).toEqual(inTable.toSorted());
    const elsewhere = Object.values(places).filter((place) => place.startsWith('test/'));
    expect(elsewhere.filter((path) => !existsSync(path))).toEqual([]);
  });
});

it('a clock.setTimeout that throws leaves the timers to the system, and calls work', async () => {
  const state = { on: false };
  const { throws } = misdeeds;
  const { manager, soon, user, roomId } = setUp((clock) => ({ clock: spoiled(clock, 'setTimeout', throws, state) }));
  state.on = true;
  await manager.startClient(user);
  const sent = await manager.sendMessage({ userId: alice, roomId, text: 'hello' });
  expect(sent).toMatchObject({ eventId: expect.any(String) as string });
  state.on = false;
  await soon(manager.shutdown());
});
