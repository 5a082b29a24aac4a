import { delay } from '../core/abort.js';
import type { ClientEvent, Provenance } from '../core/client-event.js';
import { nextEventLoopTurn } from '../core/event-loop.js';
import type { EventBatch, InviteBatch, RoomBatch } from '../core/ports/event-source.js';
import { KeyedQueue } from '../core/keyed-queue.js';
import { isObject } from '../core/raw-event.js';
import type { RawEvent } from '../core/raw-event.js';
import { RecentIds } from '../core/recent-ids.js';
import { backoffMs } from '../http/retry.js';
import type { CheckpointChange, DeliveredPosition, StoredCheckpoint } from '../storage/checkpoint.js';
import { BatchLedger } from './batch-ledger.js';
import type { EventStep, OpenBatch } from './batch-ledger.js';
import type { Edge } from './fill-gap.js';
import { GapFiller } from './gap-filler.js';
import type { GapFillerOptions } from './gap-filler.js';
import { toEphemeralEvents, toInvite, toTimelineEvent } from './to-client-events.js';
import { TypingLists } from './typing-lists.js';

export type { Gap } from './gap-filler.js';

/** Where positions are committed. */
export interface Checkpoint {
  commit(change: CheckpointChange): Promise<void>;
}

export interface DeliveryOptions extends GapFillerOptions {
  /** What the checkpoint held when the source was started from it. */
  readonly stored: StoredCheckpoint;
  readonly checkpoint: Checkpoint;
  /**
   * Hands an event to the callbacks; false means that it was not handled and has to come again. `record` is for who
   * is the last to be through with the event: it resolves when that is stored, and only then may the room go on.
   */
  readonly dispatch: (event: ClientEvent, signal: AbortSignal, record: () => Promise<void>) => Promise<boolean>;
  /** Whether anybody is there to take events. While nobody is, no position moves. @default somebody */
  readonly hasCallbacks?: (() => boolean) | undefined;
  /** Makes an encrypted event readable, or says that it is not; undefined when `signal` ends the wait. @default none */
  readonly decrypt?: Decrypt | undefined;
}

export type Decrypt = (
  roomId: string,
  raw: RawEvent,
  provenance: Provenance,
  arrivedAt: number,
  signal: AbortSignal,
) => Promise<RawEvent | undefined>;

/** Events under way in callbacks from which on the source is made to wait, so that memory stays bounded. */
const MAX_UNDER_WAY = 10_000;
const REMEMBERED_EVENTS = 4_000;
const RETRY = { baseDelayMs: 1_000, maxDelayMs: 60_000 };

interface Planned {
  readonly raw: RawEvent;
  readonly provenance: Provenance;
}

/**
 * Takes one user's batches to the callbacks: tells live from missed from history, drops repetitions, fills gaps, keeps
 * each room in order, and moves the stored positions on when everything before them has been handled.
 *
 * This file is a little long because what is planned, handed out and stored has to be seen together to be believed.
 */
export class Delivery {
  readonly #options: DeliveryOptions;
  readonly #gaps: GapFiller;
  readonly #rooms = new KeyedQueue();
  readonly #ledger: BatchLedger;
  readonly #seen = new RecentIds(REMEMBERED_EVENTS);
  /** What was handled before the start, beyond the stored sync position. */
  readonly #journal: Set<string>;
  readonly #positions: Map<string, DeliveredPosition>;
  readonly #stop = new AbortController();
  /** Whether the user has been delivered to before, so that what is new to us is news and no history. */
  #resuming: boolean;
  #hasDeferredEvents = false;
  #hasDeferredBacklog = false;
  /** Whether something of the rooms is not stored, so that the client cannot go on from a later position. */
  #hasDropped = false;
  /** Batches that are not handled. */
  #unhandled = 0;
  #underWay = 0;
  readonly #typing: TypingLists;
  #wakeSource: (() => void) | undefined;
  #commits: Promise<void> = Promise.resolve();
  #commitScheduled = false;
  /** Callbacks whose room goes on after the next commit. */
  readonly #waitingForCommit: (() => void)[] = [];
  #storageDown = false;
  #finished = false;

  constructor(options: DeliveryOptions) {
    const { since, lastDelivered, journal } = options.stored;
    this.#options = options;
    this.#gaps = new GapFiller(options);
    this.#ledger = new BatchLedger(journal.length);
    this.#typing = new TypingLists(options.userId);
    this.#positions = new Map(lastDelivered);
    this.#resuming = since !== undefined || this.#positions.size > 0;
    this.#journal = new Set(journal.map(({ eventId }) => eventId));
  }

  /**
   * Queues the batch's events. Resolves at once, or when callbacks have caught up if too much is under way; for the
   * first batch ever when it is stored where history ends, so that whatever comes after is news for good.
   */
  async accept(batch: EventBatch): Promise<void> {
    const { hasCallbacks = () => true } = this.#options;
    if (this.#hasDeferredEvents || (!this.#stop.signal.aborted && !hasCallbacks())) return this.#leave(batch);
    if (this.#stop.signal.aborted) return;
    const open = this.#ledger.open(batch);
    const history = batch.since === undefined && !this.#resuming;
    this.#unhandled++;
    const arrivedAt = this.#options.clock.now();
    const parts = batch.rooms.map((room) => this.#acceptRoom(open, batch, room, history, arrivedAt));
    parts.push(...batch.invites.map((invite) => this.#acceptInvite(open, batch, invite, history)));
    this.#resuming = true;
    void this.#completeWhen(open, parts);
    if (history || batch.isBackfilledRooms) {
      await nextEventLoopTurn();
      if (!open.complete) this.#storeBeginning(batch);
      await this.#commits;
    }
    if (this.#stop.signal.aborted) return; // during the store: nobody would wake the source
    if (this.#underWay > MAX_UNDER_WAY) await new Promise<void>((resolve) => (this.#wakeSource = resolve));
  }

  /** How many rooms wait for, or have lost, events that the homeserver does not tell. */
  get stalledRooms(): number {
    return this.#gaps.stalledRooms;
  }

  /** Whether events came while nobody was there to take them: from then on this delivery takes nothing. */
  get hasDeferredEvents(): boolean {
    return this.#hasDeferredEvents;
  }

  /** Whether the history of the first sync came while nobody was there to take it. */
  get hasDeferredBacklog(): boolean {
    return this.#hasDeferredBacklog;
  }

  /** Takes nothing: what comes is asked for once more, together with what lies before it. */
  deferAll(): void {
    this.#hasDeferredEvents = true;
  }

  /** The last callback was removed: what none has begun with is for those that are added later. */
  deferUnhandled(): void {
    if (this.#unhandled === 0) return;
    this.#hasDeferredEvents = true;
    this.abort();
  }

  /** Ends gap-filling and retries; what no callback has begun with will come again. */
  abort(): void {
    this.#stop.abort();
    this.#wakeSource?.();
  }

  /** After {@link abort}, when the callbacks are done: stores how far everything got. */
  async finish(): Promise<void> {
    await this.#rooms.settled();
    await nextEventLoopTurn(); // what the callbacks' end leads to
    await this.#scheduleCommit();
    await nextEventLoopTurn(); // and what the closing of connections does
    const rest = this.#finished ? undefined : this.#ledger.takeRest();
    if (rest) await this.#commit(rest);
    this.#finished = true; // a callback that comes back later must not move the position of the client after this one
  }

  /** Stores nothing any more, not even when a storage that hangs comes back: the position is that of the next client. */
  giveUp(): void {
    this.#finished = true;
  }

  async #completeWhen(open: OpenBatch, parts: Promise<boolean>[]): Promise<void> {
    try {
      const handled = await Promise.all(parts);
      if (!handled.every(Boolean)) return; // it stays open: the position never moves beyond it
      this.#unhandled--;
      this.#ledger.complete(open);
      await this.#scheduleCommit();
    } catch (error) {
      this.#options.logger.error({ userId: this.#options.userId, err: error }, 'delivering a sync failed');
    }
  }

  /** Takes from a batch that nobody is there for no more than where history ends: what comes after it is owed. */
  async #leave(batch: EventBatch): Promise<void> {
    if (this.#finished) return;
    const { since, nextBatch, rooms, invites, resume, isBackfilledRooms } = batch;
    if (since === undefined && !this.#resuming) {
      this.#resuming = true;
      this.#hasDeferredBacklog = true;
      for (const [roomId, position] of endsOfHistory(rooms)) this.#positions.set(roomId, position);
      const lastDelivered = new Map(this.#positions);
      this.#commits = this.#commits.then(() => this.#commit({ since: nextBatch, ...resume, lastDelivered }));
    } else if (isBackfilledRooms) {
      this.#hasDeferredBacklog = true;
      const ends = endsOfHistory(rooms.filter(({ roomId }) => !this.#positions.has(roomId)));
      for (const [roomId, position] of ends) this.#positions.set(roomId, position);
      if (ends.length > 0 || resume) {
        const lastDelivered = new Map(ends);
        this.#commits = this.#commits.then(() => this.#commit({ ...resume, lastDelivered }));
      }
    } else if (rooms.length + invites.length > 0 || resume) {
      this.#hasDeferredEvents = true;
      this.#storeClientPosition(batch);
    }
    await this.#commits;
  }

  /** The client need not have again what callbacks are owed: that is asked for past it, from the other position. */
  #storeClientPosition({ nextBatch, rooms, invites, resume }: EventBatch): void {
    // What is still handled is stored later, with what its rooms were like before this.
    if (this.#unhandled > 0) this.#hasDropped = true;
    const isWorthIt = resume !== undefined || invites.length > 0 || rooms.some(({ timeline }) => timeline.length > 0);
    if (this.#hasDropped || !isWorthIt) return;
    this.#commits = this.#commits.then(() => this.#commit({ clientSince: nextBatch, ...resume }));
  }

  /** Of a first batch that is not handled at once, because somebody asks for history, what ends the history. */
  #storeBeginning({ rooms, isPartialInitialSync, nextBatch, resume }: EventBatch): void {
    const ends = endsOfHistory(rooms);
    if (ends.length === 0 && !isPartialInitialSync) return;
    // After a crash the rooms that are missing are history too, up to this position: it has to be known then.
    const { accountData } = resume ?? {};
    const beginning = isPartialInitialSync
      ? { since: nextBatch, ...(accountData !== undefined && { accountData }) }
      : {};
    this.#commits = this.#commits.then(() => this.#commit({ ...beginning, lastDelivered: new Map(ends) }));
  }

  async #acceptRoom(
    open: OpenBatch,
    batch: EventBatch,
    room: RoomBatch,
    history: boolean,
    arrivedAt: number,
  ): Promise<boolean> {
    // The room's queue holds back later batches only while a gap is filled or a key is waited for, not while callbacks
    // run: those are queued per callback and room anyway, and a slow one must not hold up the others.
    const events: Promise<boolean>[] = [];
    const { roomId } = room;
    const planned = await this.#rooms.run(roomId, async () => {
      // Once a gap has been left open by a stop, the room's position must not jump it.
      const isHistory = history || (batch.isBackfilledRooms === true && !this.#positions.has(roomId));
      const plan = this.#stop.signal.aborted ? undefined : await this.#plan(batch, room, isHistory);
      if (!plan) return false;
      const left = room.membership === 'leave';
      if (room.isGone) this.#reportGoneRoom(roomId);
      const hasBacklog = plan.some((event) => event.provenance === 'backlog');
      // A callback that asks for the backlog is still owed that of the first sync.
      const known = this.#positions.get(roomId);
      const owesHistory = known ? known.history : room.isAwaitingBackfill;
      const kept = !hasBacklog && owesHistory ? { history: true as const } : {};
      for (const { raw, provenance } of plan) {
        const readable = isSealed(raw) ? await this.#decrypt(roomId, raw, provenance, arrivedAt) : raw;
        if (!readable) return false;
        const moves = !left && provenance !== 'backlog';
        if (!this.#seen.add(readable.event_id)) continue;
        const step = this.#ledger.expect(open, roomId, readable.event_id, moves, kept);
        const event = toTimelineEvent(this.#options.userId, roomId, readable, provenance);
        events.push(this.#deliver(step, event));
      }
      const provenance = history || batch.isBackfilledRooms ? 'backlog' : provenanceOf(batch);
      for (const event of toEphemeralEvents(this.#options.userId, room, provenance)) {
        const news = event.type === 'typing' ? this.#typing.withoutOwn(event) : event;
        if (news) events.push(this.#dispatch(news, async () => {}));
      }
      this.#remember(open, room, kept, left || hasBacklog);
      return true;
    });
    return planned && (await Promise.all(events)).every(Boolean);
  }

  async #acceptInvite(open: OpenBatch, batch: EventBatch, invite: InviteBatch, history: boolean): Promise<boolean> {
    const event = toInvite(this.#options.userId, invite, history ? 'backlog' : provenanceOf(batch));
    if (!event) return true;
    const sent = invite.state.find(({ type, sender }) => type === 'm.room.member' && sender === event.sender);
    const id = `invite ${event.sender} ${String(sent?.origin_server_ts)}`; // for the journal: most have no event id
    return this.#deliver(this.#ledger.expect(open, invite.roomId, id, false), event);
  }

  /** The room's events in order, each with how it came; undefined when stopped on the way. */
  async #plan(batch: EventBatch, room: RoomBatch, history: boolean): Promise<Planned[] | undefined> {
    const { roomId, timeline, prevBatch } = room;
    if (history) return planned('backlog', timeline);
    const known = this.#positions.get(roomId);
    const edge = (event: RawEvent): Edge => {
      if (known) return event.event_id === known.eventId ? 'known' : 'none';
      return isOwnJoin(event, this.#options.userId) ? 'first' : 'none';
    };
    const provenance = provenanceOf(batch);
    const found = timeline.findLastIndex((event) => edge(event) !== 'none');
    if (found >= 0) {
      // For a room just joined, what lies before the join is history; the join itself is news.
      const news = known ? found + 1 : found;
      const owed = known ? known.history && (batch.since === undefined || batch.isBackfilledRooms) : true;
      return [...planned('backlog', owed ? timeline.slice(0, news) : []), ...planned(provenance, timeline.slice(news))];
    }
    const live = planned(provenance, timeline);
    if (!room.limited || prevBatch === undefined) return live;
    const ends = { before: known?.eventId, after: timeline[0]?.event_id };
    const gap = { roomId, from: prevBatch, to: batch.isBackfilledRooms ? undefined : batch.since, edge, ...ends };
    const missed = await this.#gaps.missing(gap, this.#stop.signal);
    return missed && [...planned('gap-fill', missed), ...live];
  }

  async #decrypt(
    roomId: string,
    raw: RawEvent,
    provenance: Provenance,
    arrivedAt: number,
  ): Promise<RawEvent | undefined> {
    const { decrypt } = this.#options;
    const isHandled = this.#seen.has(raw.event_id) || this.#journal.has(raw.event_id);
    if (!decrypt || isHandled) return raw;
    return decrypt(roomId, raw, provenance, arrivedAt, this.#stop.signal);
  }

  async #deliver(step: EventStep, event: ClientEvent): Promise<boolean> {
    if (this.#journal.delete(step.eventId)) {
      this.#ledger.handled(step, true);
      return true;
    }
    const record = (): Promise<void> => {
      this.#ledger.handled(step);
      // Waits for one try only: a storage that is down costs repetitions after a crash, and not the users' chats.
      const tried = new Promise<void>((resolve) => this.#waitingForCommit.push(resolve));
      void this.#scheduleCommit();
      return tried;
    };
    if (!(await this.#dispatch(event, record))) return false;
    if (step.handled) return true;
    this.#ledger.handled(step);
    setImmediate(() => void this.#scheduleCommit()); // no callback waits for it: share the batch's commit
    return true;
  }

  #reportGoneRoom(roomId: string): void {
    const { userId, onGap } = this.#options;
    onGap({ userId, roomId, from: this.#positions.get(roomId)?.eventId, to: undefined, reason: 'gone' });
  }

  #remember(open: OpenBatch, room: RoomBatch, kept: Pick<DeliveredPosition, 'history'>, marked: boolean): void {
    const { roomId, membership, timeline } = room;
    const last = timeline.at(-1);
    if (membership === 'leave') {
      this.#gaps.forget(roomId);
      this.#positions.delete(roomId); // what is said before a return to the room is not for the user
      this.#ledger.mark(open, roomId, null);
    } else if (last) {
      const position = { eventId: last.event_id, ...kept };
      this.#positions.set(roomId, position);
      if (marked) this.#ledger.mark(open, roomId, position);
    }
  }

  async #dispatch(event: ClientEvent, record: () => Promise<void>): Promise<boolean> {
    if (this.#stop.signal.aborted) return false; // where no callback is left, it would count as handled
    this.#underWay++;
    try {
      return await this.#options.dispatch(event, this.#stop.signal, record);
    } finally {
      this.#underWay--;
      if (this.#underWay <= MAX_UNDER_WAY / 2) {
        this.#wakeSource?.();
        this.#wakeSource = undefined;
      }
    }
  }

  /** Resolves when what has been handled so far is stored. What happens while one commit runs shares the next. */
  #scheduleCommit(): Promise<void> {
    if (this.#finished || this.#storageDown) this.#releaseWaiting();
    if (this.#commitScheduled || this.#finished) return this.#commits;
    this.#commitScheduled = true;
    this.#commits = this.#commits.then(async () => {
      this.#commitScheduled = false;
      const change = this.#finished ? undefined : this.#ledger.take();
      const waiting = this.#waitingForCommit.splice(0);
      const tried = (): void => {
        for (const resolve of waiting.splice(0)) resolve();
      };
      if (change) await this.#commit(change, tried);
      tried();
    });
    return this.#commits;
  }

  #releaseWaiting(): void {
    for (const resolve of this.#waitingForCommit.splice(0)) resolve();
  }

  /** Tries until the storage takes it: a change that is dropped would leave a hole in what the next ones build on. */
  async #commit(change: CheckpointChange, tried = (): void => {}): Promise<void> {
    const { userId, checkpoint, clock, logger } = this.#options;
    for (let failures = 1; ; failures++) {
      try {
        await checkpoint.commit(change);
        this.#storageDown = false;
        return;
      } catch (error) {
        this.#storageDown = true;
        tried();
        this.#releaseWaiting();
        logger.error({ userId, err: error, failures }, 'storing the sync position failed');
        const waited = delay(clock, backoffMs(failures, RETRY), this.#stop.signal, 'storing').then(() => true);
        if (await waited.catch(() => false)) continue;
        this.#finished = true; // what was not stored comes again, and nothing after it may be stored
        return;
      }
    }
  }
}

/** Where the history of rooms that are new to us ends. */
function endsOfHistory(rooms: readonly RoomBatch[]): [string, DeliveredPosition][] {
  return rooms.flatMap(({ roomId, membership, timeline }): [string, DeliveredPosition][] => {
    const last = membership === 'join' ? timeline.at(-1) : undefined;
    return last ? [[roomId, { eventId: last.event_id, history: true }]] : [];
  });
}

function planned(provenance: Provenance, events: readonly RawEvent[]): Planned[] {
  return events.map((raw) => ({ raw, provenance }));
}

function provenanceOf(batch: EventBatch): Provenance {
  return batch.catchUp || batch.isBackfilledRooms ? 'gap-fill' : 'live';
}

/** Whether there is something in it to be decrypted. */
function isSealed(raw: RawEvent): boolean {
  return raw.type === 'm.room.encrypted';
}

/** Whether the user came into the room by this event, and not just changed their name in it. */
function isOwnJoin(event: RawEvent, userId: string): boolean {
  if (event.type !== 'm.room.member' || event.state_key !== userId || event.content.membership !== 'join') return false;
  const before = event.unsigned?.prev_content;
  return !isObject(before) || before.membership !== 'join';
}
