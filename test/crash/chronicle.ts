import type { RoomSender } from './room-sender.js';
import { OnceChronicle } from './once-chronicle.js';
import type { WorkerLine, WorkerUser } from './worker-protocol.js';

type Line<K extends WorkerLine['kind']> = Extract<WorkerLine, { kind: K }>;

/** One event on its way through one user's callbacks, over all lives of the worker. */
interface Handling {
  readonly roomId: string;
  readonly n: number;
  /** Callbacks that are through with it. */
  readonly done: Set<number>;
  /** When the last callback got through; undefined while one is not. */
  finishedAt: number | undefined;
  finishedIn: number | undefined;
  /** Whether the storage has acknowledged that it was handled. */
  recorded: boolean;
  dead: boolean;
}

/** Where one callback is in one room. */
interface Progress {
  /** First deliveries, in the order they came. */
  readonly first: number[];
  /** What this life of the worker got last. */
  last: { readonly life: number; readonly n: number; failed: boolean } | undefined;
}

export interface Tally {
  delivered: number;
  /** Came again after a kill because a callback had not got through. */
  repeatedUnfinished: number;
  /** Came again although every callback had got through: killed before the storage had acknowledged it. */
  repeatedUnrecorded: number;
  gaps: number;
  /** Events that a `gap` told to be missing. */
  inGaps: number;
  /** Begun, not finished at the kill, and then beyond the limit of the next life's gap-fill. */
  unfinishedInGaps: number;
  gapFilled: number;
  deadLetters: number;
  /** From the end of handling to the acknowledgement, in milliseconds. */
  readonly windows: number[];
  /** The most events of one room and user that were finished and not recorded at once. */
  widest: number;
}

/** Takes down what the workers tell, and says what was wrong: the rules of delivery, checked line by line. */
export class Chronicle {
  readonly violations: string[] = [];
  readonly problems: string[] = [];
  readonly once = new OnceChronicle((what) => this.#wrong(what));
  readonly tally: Tally = {
    delivered: 0,
    repeatedUnfinished: 0,
    repeatedUnrecorded: 0,
    gaps: 0,
    inGaps: 0,
    unfinishedInGaps: 0,
    gapFilled: 0,
    deadLetters: 0,
    windows: [],
    widest: 0,
  };
  readonly #users: ReadonlyMap<string, WorkerUser>;
  readonly #senders: ReadonlyMap<string, RoomSender>;
  readonly #handlings = new Map<string, Handling>();
  readonly #progress = new Map<string, Progress>();
  /** Finished events that are not recorded yet, by user and room, in order. */
  readonly #unrecorded = new Map<string, Handling[]>();
  readonly #gaps: Line<'gap'>[] = [];
  readonly #told = new Set<string>();
  /** The newest number that the storage knows to be handled, with all before it, by user and room. */
  readonly #recordedUpTo = new Map<string, number>();
  /** For each user, the number of the first message per room that was sent after their first start. */
  readonly #from = new Map<string, Map<string, number>>();
  readonly #log: ((line: string) => void) | undefined;
  #life = 0;
  /** Each user's number of stops: the next client may report again a gap after which nothing was handled. */
  readonly #stops = new Map<string, number>();

  constructor(users: readonly WorkerUser[], senders: readonly RoomSender[], log?: (line: string) => void) {
    this.#log = log;
    this.#users = new Map(users.map((user) => [user.userId, user]));
    this.#senders = new Map(senders.map((sender) => [sender.roomId, sender]));
  }

  /** A worker has been killed, or has ended: what its storage has not acknowledged may come again. */
  nextLife(): void {
    this.#life++;
    this.#unrecorded.clear();
  }

  add(line: WorkerLine): void {
    this.#log?.(`${this.#life} ${JSON.stringify(line)}`);
    switch (line.kind) {
      case 'ready':
        if (this.#from.has(line.userId)) return;
        this.#from.set(line.userId, new Map([...this.#senders].map(([roomId, { begun }]) => [roomId, begun])));
        return;
      case 'begin':
        return this.#begin(line);
      case 'onceBegin':
        return this.once.begin(line, this.#life);
      case 'onceEnd':
      case 'onceFail':
        return this.once.settle(line);
      case 'end':
        return this.#end(line);
      case 'fail': {
        const handling = this.#handling(line.userId, line.eventId);
        const progress = handling && this.#of(line.userId, line.callback, handling.roomId);
        if (progress?.last?.n === handling?.n && progress?.last) progress.last.failed = true;
        return;
      }
      case 'dead':
        return this.#dead(line);
      case 'stored':
        return this.#stored(line);
      case 'gap':
        return this.#gap(line);
      case 'problem':
        this.problems.push(line.message);
        return;
      case 'finished':
        return this.#checkDeadLetters(line);
      case 'stopped':
        this.#stops.set(line.userId, (this.#stops.get(line.userId) ?? 0) + 1);
        return;
      case 'http':
        return;
    }
  }

  /** What is still to be delivered; empty when every sender has stopped and everything has come. */
  missing(): string[] {
    const missing: string[] = [];
    for (const [userId, user] of this.#users) {
      for (const callback of user.callbacks.keys()) {
        for (const [roomId, sender] of this.#wanted(user, callback)) {
          const from = this.#from.get(userId)?.get(roomId);
          if (from === undefined) {
            missing.push(`${userId} has never been ready`);
            continue;
          }
          const first = new Set(this.#of(userId, callback, roomId).first);
          for (let n = from; n < sender.begun; n++) {
            const id = sender.ids[n] ?? '';
            const done = this.#handlings.get(`${userId} ${id}`)?.done.has(callback);
            if (this.#inGap(userId, roomId, n)) continue;
            if (done && !this.once.hasEnded(id)) missing.push(`once ${roomId} n${n} ${id}, which ${userId} has got`);
            if (!done) {
              missing.push(`${userId} callback ${callback} ${roomId} n${n} ${id} ${first.has(n) ? 'unfinished' : ''}`);
            }
          }
        }
      }
    }
    return missing;
  }

  /** What only the end shows: each hole is what one `gap` event told, to the event. */
  checkGaps(): void {
    for (const [userId, user] of this.#users) {
      for (const [roomId, sender] of this.#wanted(user, 0)) {
        const done = (n: number): boolean => {
          return this.#handlings.get(`${userId} ${sender.ids[n] ?? ''}`)?.done.has(0) ?? false;
        };
        for (let n = this.#from.get(userId)?.get(roomId) ?? 0; n < sender.begun; n++) {
          if (done(n)) continue;
          let end = n;
          while (end < sender.begun && !done(end)) end++;
          this.#checkHole(userId, roomId, n, end);
          n = end;
        }
      }
    }
  }

  #checkHole(userId: string, roomId: string, begin: number, end: number): void {
    this.tally.inGaps += end - begin;
    const { first } = this.#of(userId, 0, roomId);
    this.tally.unfinishedInGaps += first.filter((n) => n >= begin && n < end).length;
    const gaps = this.#gaps
      .filter((gap) => gap.userId === userId && gap.roomId === roomId)
      .map((gap) => ({ from: this.#n(gap.from) ?? -1, to: this.#n(gap.to) ?? end }));
    // Two gaps may share a hole: a change of the topic between them is handled, and no callback is told of it.
    const isTold = (upTo: number): boolean =>
      gaps.some(({ from, to }) => {
        if (Math.ceil(to) !== upTo) return false;
        return from < begin || (!Number.isInteger(from) && Math.ceil(from) < upTo && isTold(Math.ceil(from)));
      });
    if (isTold(end)) return;
    const told = gaps.map(({ from, to }) => `${from} to ${to}`).join(', ');
    this.#wrong(`${userId} ${roomId}: n${begin} to n${end - 1} did not come, and no gap says just so: ${told}`);
  }

  #gap(line: Line<'gap'>): void {
    const { userId, roomId, from, to, reason } = line;
    const text = JSON.stringify(line);
    const recorded = this.#recordedUpTo.get(`${userId} ${roomId}`) ?? -1;
    if (reason !== 'limit') this.#wrong(`a gap for another reason: ${text}`);
    if ((this.#n(from) ?? -1) < recorded) this.#wrong(`a gap from before n${recorded}, which was handled: ${text}`);
    const key = `${this.#life} ${this.#stops.get(userId)} ${userId} ${roomId} ${from} ${to}`;
    if (this.#told.has(key)) this.#wrong(`a gap told twice: ${text}`);
    this.#told.add(key);
    this.tally.gaps++;
    this.#gaps.push(line);
  }

  #begin({ userId, callback, roomId, eventId, n, provenance }: Line<'begin'>): void {
    const name = `${userId} callback ${callback} n${n} ${eventId} (life ${this.#life}, ${provenance})`;
    const key = `${userId} ${eventId}`;
    const handling = this.#handlings.get(key) ?? {
      roomId,
      n,
      done: new Set<number>(),
      finishedAt: undefined,
      finishedIn: undefined,
      recorded: false,
      dead: false,
    };
    this.#handlings.set(key, handling);
    const progress = this.#of(userId, callback, roomId);
    const { last } = progress;
    if (last?.life === this.#life) {
      const retried = last.n === n && last.failed;
      if (last.n === n && !retried) this.#wrong(`twice in one life: ${name}`);
      if (n < last.n) this.#wrong(`out of order: ${name} came after n${last.n}`);
    }
    const again = last?.life === this.#life && last.n === n;
    progress.last = { life: this.#life, n, failed: false };
    if (again) return;
    if (provenance === 'gap-fill') this.tally.gapFilled++;
    const known = progress.first.includes(n, Math.max(0, progress.first.length - 3_000));
    if (!known) {
      const newest = this.#recordedUpTo.get(`${userId} ${roomId}`) ?? -1;
      if (n < newest) this.#wrong(`late: ${name} came after n${newest} was recorded as handled`);
      progress.first.push(n);
      this.tally.delivered++;
    } else if (handling.recorded) {
      this.#wrong(`repeated though recorded as handled: ${name}`);
    } else if (handling.finishedIn === undefined) {
      this.tally.repeatedUnfinished++;
    } else {
      this.tally.repeatedUnrecorded++;
    }
  }

  #end({ at, userId, callback, eventId }: Line<'end'>): void {
    const handling = this.#handling(userId, eventId);
    if (handling) this.#through(handling, userId, callback, at);
  }

  #dead({ at, userId, eventId }: Line<'dead'>): void {
    const handling = this.#handling(userId, eventId);
    if (!handling) return;
    if (!handling.dead) this.tally.deadLetters++;
    handling.dead = true;
    // All callbacks of a poisoned event fail; which one it was does not matter to the count.
    for (const callback of this.#users.get(userId)?.callbacks.keys() ?? []) {
      if (this.#of(userId, callback, handling.roomId).last?.n === handling.n)
        this.#through(handling, userId, callback, at);
    }
  }

  #through(handling: Handling, userId: string, callback: number, at: number): void {
    handling.done.add(callback);
    const user = this.#users.get(userId);
    const wanting = [...(user?.callbacks.entries() ?? [])].filter(
      ([, { rooms }]) => !rooms || rooms.includes(handling.roomId),
    );
    if (handling.finishedIn !== undefined || !wanting.every(([index]) => handling.done.has(index))) return;
    handling.finishedAt = at;
    handling.finishedIn = this.#life;
    const key = `${userId} ${handling.roomId}`;
    const waiting = this.#unrecorded.get(key) ?? [];
    waiting.push(handling);
    this.#unrecorded.set(key, waiting);
    this.tally.widest = Math.max(this.tally.widest, waiting.length);
  }

  #stored({ at, userId, positions, journal }: Line<'stored'>): void {
    const record = (handling: Handling): void => {
      if (handling.finishedAt !== undefined && handling.finishedIn === this.#life && !handling.recorded) {
        this.tally.windows.push(at - handling.finishedAt);
      }
      handling.recorded = true;
    };
    for (const eventId of journal) {
      const handling = this.#handling(userId, eventId);
      if (handling) record(handling);
    }
    for (const eventId of positions) {
      for (const sender of this.#senders.values()) {
        const reached = sender.numbers.get(eventId);
        if (reached === undefined) continue;
        const key = `${userId} ${sender.roomId}`;
        this.#recordedUpTo.set(key, Math.max(reached, this.#recordedUpTo.get(key) ?? -1));
        for (const handling of this.#unrecorded.get(`${userId} ${sender.roomId}`) ?? []) {
          if (handling.n <= reached) record(handling);
        }
      }
    }
    for (const [key, waiting] of this.#unrecorded) {
      if (key.startsWith(`${userId} `))
        this.#unrecorded.set(
          key,
          waiting.filter(({ recorded }) => !recorded),
        );
    }
  }

  #checkDeadLetters({ deadLetters }: Line<'finished'>): void {
    for (const [key, { dead }] of this.#handlings) {
      const [userId = '', eventId = ''] = key.split(' ');
      if (dead && !deadLetters[userId]?.includes(eventId)) this.#wrong(`the dead letter ${key} is not in the storage`);
    }
  }

  #inGap(userId: string, roomId: string, n: number): boolean {
    return this.#gaps.some((gap) => {
      if (gap.userId !== userId || gap.roomId !== roomId) return false;
      const to = this.#n(gap.to);
      return to !== undefined && n < to && n > (this.#n(gap.from) ?? -1);
    });
  }

  #n(eventId: string | undefined): number | undefined {
    if (eventId === undefined) return undefined;
    for (const { numbers } of this.#senders.values()) {
      const n = numbers.get(eventId);
      if (n !== undefined) return n;
    }
    return undefined;
  }

  #wanted(user: WorkerUser, callback: number): [string, RoomSender][] {
    const rooms = user.callbacks[callback]?.rooms;
    return [...this.#senders].filter(([roomId]) => !rooms || rooms.includes(roomId));
  }

  #handling(userId: string, eventId: string): Handling | undefined {
    return this.#handlings.get(`${userId} ${eventId}`);
  }

  #of(userId: string, callback: number, roomId: string): Progress {
    const key = `${userId} ${callback} ${roomId}`;
    const progress = this.#progress.get(key) ?? { first: [], last: undefined };
    this.#progress.set(key, progress);
    return progress;
  }

  #wrong(what: string): void {
    this.violations.push(what);
  }
}
