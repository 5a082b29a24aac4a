import { setTimeout as sleep } from 'node:timers/promises';
import { isManagerError } from '../../src/index.js';
import type { ClientEvent, MatrixClientManager } from '../../src/index.js';
import type { Random } from '../../test/crash/random.js';
import type { Ledger } from './ledger.js';

export interface SoakUser {
  readonly userId: string;
  /** Indices of rooms. */
  readonly rooms: readonly number[];
}

/** What may come of a call while the homeserver is in trouble. Anything else is a violation. */
const EXCUSED: ReadonlySet<string> = new Set([
  'HOMESERVER_UNAVAILABLE',
  'NETWORK',
  'TIMEOUT',
  'RATE_LIMITED',
  'INVALID_RESPONSE',
  'UNKNOWN_TOKEN',
]);
/** How often, at most, a callback throws on one event: one time less than makes it a dead letter. */
const MAX_THROWS = 2;
const ACTIONS_PER_SECOND = 12;

/** An application on the library: its users come and go, write, read and type, and its callbacks fail at times. */
export class Application {
  readonly violations: string[] = [];
  /** How calls ended, by name of the call and `ok` or the error's code. */
  readonly outcomes: Record<string, number> = {};
  readonly #manager: MatrixClientManager;
  readonly #users: readonly SoakUser[];
  readonly #roomIds: readonly string[];
  readonly #ledger: Ledger;
  readonly #random: Random;
  readonly #roomIndex: ReadonlyMap<string, number>;
  /** Throws so far by user and event; gone when the event is handled. */
  readonly #throws = new Map<string, number>();
  /** Numbers of durable messages by user and room. */
  readonly #numbers = new Map<string, number>();
  readonly #running = new Set<Promise<void>>();

  constructor(
    manager: MatrixClientManager,
    world: { users: readonly SoakUser[]; roomIds: readonly string[] },
    ledger: Ledger,
    random: Random,
  ) {
    this.#manager = manager;
    this.#users = world.users;
    this.#roomIds = world.roomIds;
    this.#roomIndex = new Map(world.roomIds.map((roomId, index) => [roomId, index]));
    this.#ledger = ledger;
    this.#random = random;
    for (const [index, user] of this.#users.entries()) {
      manager.addCallback(user.userId, (event) => this.#handle(index, user.userId, event));
    }
    manager.on('deadLetter', ({ userId, event }) => this.#violation(`dead letter of ${userId}: ${event.type}`));
    manager.on('gap', ({ userId, roomId }) => this.#violation(`gap of ${userId} in ${roomId}`));
  }

  async startAll(): Promise<void> {
    await Promise.all(this.#users.map(({ userId }) => this.#manager.startClient({ userId })));
    const stats = this.#manager.stats();
    if (stats.clients.live !== this.#users.length) throw new Error(`only ${stats.clients.live} clients started`);
  }

  /** Acts at random until the signal fires. */
  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      await sleep((2_000 / ACTIONS_PER_SECOND) * this.#random.next(), undefined, { signal }).catch(() => {});
      if (!signal.aborted) this.#act();
    }
  }

  /** Resolves when every call has ended, and every client that is meant to run does. */
  async settled(): Promise<void> {
    while (this.#running.size > 0) await Promise.all(this.#running);
    for (const { userId } of this.#users) {
      for (let tries = 0; this.#manager.clientInfo(userId)?.state !== 'live'; tries++) {
        if (tries === 60) return this.#violation(`${userId} is not live again after a minute of calm`);
        await this.#manager.startClient({ userId });
        await sleep(1_000);
      }
    }
  }

  #act(): void {
    const { userId, rooms } = this.#random.pick(this.#users);
    const room = this.#random.pick(rooms);
    const roomId = this.#roomIds[room] as string;
    const what = this.#random.next();
    if (what < 0.3) this.#sendDurably(userId, room);
    else if (what < 0.45) this.#do('send', async () => this.#sent(room, this.#send(userId, roomId, 'plain')));
    else if (what < 0.6) this.#do('typing', () => this.#manager.sendTyping({ userId, roomId, typing: true }));
    else if (what < 0.7) this.#do('page', () => this.#manager.getRoomMessages({ userId, roomId, limit: 30 }));
    else if (what < 0.8) this.#do('receipt', () => this.#read(userId, roomId));
    else if (what < 0.84) this.#do('stop', () => this.#manager.stopClient(userId));
    else if (what < 0.86) this.#do('health', () => this.#manager.checkHealth());
    else this.#do('start', () => this.#manager.startClient({ userId }));
  }

  #sendDurably(userId: string, room: number): void {
    const key = `${userId}/${room}`;
    const number = this.#numbers.get(key) ?? 0;
    this.#numbers.set(key, number + 1);
    this.#do('durable send', () =>
      this.#sent(
        room,
        this.#manager.sendMessage({
          userId,
          roomId: this.#roomIds[room] as string,
          text: `${number} durable`,
          durable: true,
        }),
      ),
    );
  }

  #send(userId: string, roomId: string, text: string): Promise<{ eventId: string }> {
    return this.#manager.sendMessage({ userId, roomId, text });
  }

  async #sent(room: number, sending: Promise<{ eventId: string }>): Promise<void> {
    this.#ledger.sent(room, (await sending).eventId);
  }

  async #read(userId: string, roomId: string): Promise<void> {
    const { messages } = await this.#manager.getRoomMessages({ userId, roomId, limit: 1 });
    const eventId = messages[0]?.eventId;
    if (eventId !== undefined) await this.#manager.sendReadReceipt({ userId, roomId, eventId });
  }

  #do(name: string, call: () => Promise<unknown>): void {
    const running = call()
      .then(
        () => 'ok',
        (error: unknown) => {
          if (isManagerError(error) && EXCUSED.has(error.code) && name !== 'durable send') return error.code;
          this.#violation(
            `${name} failed with ${error instanceof Error ? (error.stack ?? error.message) : 'no error'}`,
          );
          return 'violation';
        },
      )
      .then((outcome) => {
        const key = `${name}: ${outcome}`;
        this.outcomes[key] = (this.outcomes[key] ?? 0) + 1;
        this.#running.delete(running);
      });
    this.#running.add(running);
  }

  async #handle(user: number, userId: string, event: ClientEvent): Promise<void> {
    if (event.type !== 'message') return;
    if (this.#random.chance(0.3)) await sleep(this.#random.whole(1, 30));
    const key = `${userId}/${event.eventId}`;
    const throws = this.#throws.get(key) ?? 0;
    if (throws < MAX_THROWS && this.#random.chance(throws === 0 ? 0.02 : 0.3)) {
      this.#throws.set(key, throws + 1);
      throw new Error('the application fails at times');
    }
    this.#throws.delete(key);
    this.#ledger.delivered(user, this.#roomIndex.get(event.roomId) as number, event.eventId);
  }

  #violation(text: string): void {
    this.violations.push(text);
    console.error(`VIOLATION ${text}`);
  }
}
