import { afterEach, beforeEach, describe, expect, it, onTestFinished } from 'vitest';
import { isManagerError, memoryStorage } from '../../src/index.js';
import type { MatrixClientManager, MatrixClientManagerOptions } from '../../src/index.js';
import type { ManualClock } from '../../src/testing/index.js';
import { fetchTransport } from '../../src/http/fetch-transport.js';
import { MemoryLogger } from '../../src/testing/index.js';
import { advanceUntil } from '../support/advance-until.js';
import { managerOnFake } from '../support/manager-on-fake.js';

const alice = '@alice:hs.test';
const bob = '@bob:hs.test';

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

const policy = { decide: ({ now }: { now: number }) => ({ mode: 'live' as const, reviewAt: now + 60_000 }) };
const provisioner = (): MatrixClientManagerOptions['provisioner'] => ({
  capabilities: { renewsSessions: true, deactivatesUsers: true },
  ensureUser: async () => ({ created: true }),
  openSession: async ({ userId }) => ({ userId, accessToken: 'none', deviceId: 'D' }),
  closeSession: async () => {},
  deactivateUser: async () => {},
});

const storageMethods = [
  'getCredentials',
  'setCredentials',
  'loadCheckpoint',
  'commit',
  'addDeadLetter',
  'enqueueSend',
  'listSends',
  'completeSend',
  'close',
];

const functions: Record<string, Spoil> = {
  credentials: (misdeed, state) => ({ credentials: async () => (state.on ? misdeed() : undefined) as undefined }),
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
    const calls: Promise<unknown>[] = [
      manager.provisionUser({ username: 'carol' }),
      manager.sendMessage({ userId: alice, roomId, text: '1', durable: true }),
      manager.sendMessage({ userId: alice, roomId, text: '2', durable: true }),
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
