import { cpSync } from 'node:fs';
import type { expect as vitestExpect, it as vitestIt } from 'vitest';
import type { MatrixClientManager, MatrixClientManagerOptions } from '../../../src/index.js';
import type { HomeserverTarget } from '../../../src/testing/contracts/homeserver-contract.js';
import { temporaryFolder } from '../../storage/temporary-folder.js';
import { Recorder } from '../../support/recorder.js';
import { Door } from './door.js';
import { Deployment, encryptedRoom } from './encrypted-chats.js';

/** The syncs of clients, which tell a test what a client has taken in. */
class SyncWatch {
  readonly target: HomeserverTarget;
  /** What was told, by the position that came with it. */
  readonly #told = new Map<string, string>();
  /** What was told before a position that a client has asked from since. */
  #taken = '';
  readonly #waiting = new Set<() => void>();

  constructor(homeserver: HomeserverTarget) {
    const through = homeserver.fetch ?? globalThis.fetch;
    const fetch: typeof globalThis.fetch = async (input, init) => {
      const { pathname, searchParams } = new URL(input instanceof Request ? input.url : input);
      if (!pathname.endsWith('/v3/sync')) return through(input, init);
      this.#taken += this.#told.get(searchParams.get('since') ?? '') ?? '';
      for (const look of this.#waiting) look();
      const response = await through(input, init);
      const text = await response.text();
      const { next_batch: position = '' } = JSON.parse(text) as { next_batch?: string };
      this.#told.set(position, `${this.#told.get(position) ?? ''}${text}`);
      return new Response(text, response);
    };
    this.target = { ...homeserver, fetch };
  }

  /** Resolves when a client that was told of the event has asked for what comes after it. */
  taken(eventId: string): Promise<void> {
    return new Promise((resolve) => {
      const look = (): void => {
        if (!this.#taken.includes(eventId)) return;
        this.#waiting.delete(look);
        resolve();
      };
      this.#waiting.add(look);
      look();
    });
  }
}

/** How a manager ends: in order, or without being asked. */
export type Ending = 'shut down' | 'killed';

/** A manager of Bob's, to which others follow, and one of Alice's, who shares an encrypted room with him. */
export async function livesOfBob(target: HomeserverTarget, options: Partial<MatrixClientManagerOptions> = {}) {
  const writers = new Deployment(target);
  const alices = writers.start();
  const alice = await writers.user(alices);
  const answers = new Recorder();
  await alices.startClient({ userId: alice, callbacks: [answers.callback] });
  let folder = temporaryFolder();
  let door: Door;
  let syncs: SyncWatch;
  const begin = (): MatrixClientManager => {
    door = new Door(target);
    syncs = new SyncWatch(door.target);
    return new Deployment(syncs.target, folder).start(options);
  };
  const first = begin();
  const bob = await writers.user(first);
  const roomId = await encryptedRoom(alices, [alice, bob], first);
  return {
    /** The first manager; Bob's client is live. */
    first,
    /** The next manager, on what the one before has left. */
    begin,
    alice,
    bob,
    roomId,
    answers,
    say: async (text: string): Promise<string> => {
      const { eventId } = await alices.sendMessage({ userId: alice, roomId, text });
      return eventId;
    },
    /** With keys that nobody has got yet. */
    sayWithNewKeys: async (text: string): Promise<string> => {
      await alices.withClient(alice, (client) => client.getCrypto()?.forceDiscardSession(roomId));
      const { eventId } = await alices.sendMessage({ userId: alice, roomId, text });
      return eventId;
    },
    /** Resolves when Bob's client has taken in the event. */
    taken: (eventId: string) => syncs.taken(eventId),
    /** Lets `count` more requests of Bob's manager pass; resolves when the next one is held. */
    hold: (count: number) => {
      let passed = 0;
      return door.hold(() => passed++ === count);
    },
    /** Accepts a durable message of Bob's that this manager cannot send any more. */
    queue: async (manager: MatrixClientManager, text: string): Promise<void> => {
      const limited = { errcode: 'M_LIMIT_EXCEEDED', error: 'later', retry_after_ms: 600_000 };
      const tried = new Promise<void>((resolve) => {
        door.guard(({ name }) => {
          if (!name.startsWith('PUT ') || !name.includes('/send/m.room.')) return undefined;
          resolve();
          return Response.json(limited, { status: 429 });
        });
      });
      manager.sendMessage({ userId: bob, roomId, text, durable: true }).catch(() => {}); // it is left to the next one
      await tried;
    },
    end: async (manager: MatrixClientManager, how: Ending): Promise<void> => {
      if (how === 'shut down') return manager.shutdown();
      const left = temporaryFolder();
      cpSync(folder, left, { recursive: true }); // in one go, so as a kill at this moment would leave it
      folder = left;
      door.guard(() => Promise.reject(new TypeError('fetch failed')));
      return manager.shutdown();
    },
  };
}

export type Lives = Awaited<ReturnType<typeof livesOfBob>>;

export type Starter = (manager: MatrixClientManager, lives: Lives, queued: string) => Promise<unknown>;

/** Where Bob has got one message, by the first manager. */
export async function heardLives(target: HomeserverTarget, options: Partial<MatrixClientManagerOptions> = {}) {
  const lives = await livesOfBob(target, options);
  const got = new Recorder();
  lives.first.addCallback(lives.bob, got.callback);
  await lives.say('heard');
  await got.message('heard');
  return lives;
}

/** What a callback gets that is added now, up to a message that is live; all of it can be read. */
export async function arrivals(
  expect: typeof vitestExpect,
  manager: MatrixClientManager,
  { bob, roomId, say }: Lives,
  last: string,
): Promise<string[]> {
  const got = new Recorder();
  manager.addCallback(bob, got.callback, { types: ['message'] });
  await got.message(last);
  await say('live');
  await got.message('live');
  const read = { decryption: expect.objectContaining({ state: 'decrypted' }), encrypted: true, roomId };
  expect(got.events).toEqual(got.events.map(() => expect.objectContaining(read)));
  const missed = got.events.slice(0, -1).map((event) => 'provenance' in event && event.provenance);
  expect(new Set(missed)).toEqual(new Set(['gap-fill']));
  expect(got.events.at(-1)).toMatchObject({ provenance: 'live' });
  return got.bodies();
}

/** What starts a client of its own accord, before the application has added its callbacks. */
const starters: readonly (readonly [string, Starter])[] = [
  ['a durable message of an earlier process', (_, { answers }, queued) => answers.message(queued)],
  ['an encrypted page', (manager, { roomId, bob }) => manager.getRoomMessages({ roomId, userId: bob, limit: 5 })],
  ['encryptionStatus', (manager, { bob }) => manager.encryptionStatus(bob)],
];

/**
 * What becomes of encrypted messages that arrive while a client runs and nobody listens to it: on a fake homeserver,
 * and on a real one.
 */
export function unheardLives(
  it: typeof vitestIt,
  expect: typeof vitestExpect,
  target: () => Promise<HomeserverTarget>,
): void {
  const endings: readonly Ending[] = ['shut down', 'killed'];
  const cases = endings.flatMap((ending) => starters.map(([what, start]) => [ending, what, start] as const));

  it.each(cases)('are kept when a manager was %s and %s starts the client', async (ending, _what, start) => {
    const lives = await heardLives(await target());
    const { begin, end, first, queue, say, sayWithNewKeys, taken } = lives;
    await queue(first, 'from the queue');
    await end(first, ending);
    await say('while down');
    await sayWithNewKeys('while down, with new keys');
    const next = begin();
    await start(next, lives, 'from the queue');
    await lives.answers.message('from the queue');
    await taken(await sayWithNewKeys('to nobody'));
    const bodies = await arrivals(expect, next, lives, 'to nobody');
    // A kill may repeat the event that was under way.
    expect(bodies.filter((body) => ending === 'shut down' || body !== 'heard')).toEqual([
      'while down',
      'while down, with new keys',
      'from the queue',
      'to nobody',
      'live',
    ]);
  });

  it.each(cases)('outlive a manager without callbacks that was %s after %s', async (ending, _what, start) => {
    const lives = await heardLives(await target());
    const { begin, bob, end, first, queue, say, sayWithNewKeys, taken } = lives;
    await queue(first, 'queued in life 1');
    await end(first, 'shut down');
    await sayWithNewKeys('after life 1');
    for (const life of [2, 3]) {
      const manager = begin();
      await start(manager, lives, `queued in life ${life - 1}`);
      await lives.answers.message(`queued in life ${life - 1}`);
      await taken(await sayWithNewKeys(`to nobody in life ${life}`));
      await queue(manager, `queued in life ${life}`);
      await end(manager, ending);
      await say(`after life ${life}`);
    }
    const last = begin();
    await last.startClient({ userId: bob });
    await lives.answers.message('queued in life 3');
    expect(await arrivals(expect, last, lives, 'queued in life 3')).toEqual([
      'after life 1',
      'queued in life 1',
      'to nobody in life 2',
      'after life 2',
      'queued in life 2',
      'to nobody in life 3',
      'after life 3',
      'queued in life 3',
      'live',
    ]);
    expect(last.stats().decryptions).toMatchObject({ 'missing-key': 0, unreadable: 0, withheld: 0 });
  });

  it('that came since the first start ever are all kept for the first callback', async () => {
    const lives = await livesOfBob(await target());
    const { begin, bob, end, first, say, sayWithNewKeys, taken } = lives;
    await taken(await sayWithNewKeys('in the first life'));
    await end(first, 'killed');
    await say('while down');
    const next = begin();
    await next.encryptionStatus(bob);
    await taken(await sayWithNewKeys('to nobody'));
    expect(await arrivals(expect, next, lives, 'to nobody')).toEqual([
      'in the first life',
      'while down',
      'to nobody',
      'live',
    ]);
  });
}
