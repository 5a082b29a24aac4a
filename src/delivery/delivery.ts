import { delay } from '../core/abort.js';
import type { ClientEvent, Provenance } from '../core/client-event.js';
import type { Clock } from '../core/clock.js';
import type { EventBatch, EventSource, RoomBatch } from '../core/event-source.js';
import type { HistoryReader } from '../core/history.js';
import { KeyedQueue } from '../core/keyed-queue.js';
import type { Logger } from '../core/logger.js';
import { isObject } from '../core/raw-event.js';
import type { RawEvent } from '../core/raw-event.js';
import { RecentIds } from '../core/recent-ids.js';
import { failureClass } from '../http/failure-class.js';
import { backoffMs } from '../http/retry.js';
import type { CheckpointChange, DeliveredPosition, StoredCheckpoint } from '../storage/checkpoint.js';
import { BatchLedger } from './batch-ledger.js';
import type { OpenBatch } from './batch-ledger.js';
import { fillGap } from './fill-gap.js';
import { toEphemeralEvents, toInvite, toTimelineEvent } from './to-client-events.js';

/** Events that the homeserver left out and that could not be fetched. */
export interface Gap {
  readonly userId: string;
  readonly roomId: string;
  /** The last event before the gap; undefined when the room is new to the user. */
  readonly from: string | undefined;
  /** The first event after it; undefined when none has come yet. */
  readonly to: string | undefined;
  /** `limit`: more is missing than `gapFillLimit`. `error`: the homeserver does not tell. */
  readonly reason: 'limit' | 'error';
  readonly error?: unknown;
}

/** Where positions are committed. */
export interface Checkpoint {
  load(): Promise<StoredCheckpoint>;
  commit(change: CheckpointChange): Promise<void>;
}

export interface DeliveryOptions {
  readonly userId: string;
  /** What the checkpoint held when the source was started from it. */
  readonly stored: StoredCheckpoint;
  readonly checkpoint: Checkpoint;
  /** Hands an event to the callbacks; false means that it was not handled and has to come again. */
  readonly dispatch: (event: ClientEvent, signal: AbortSignal) => Promise<boolean>;
  readonly readHistory: HistoryReader;
  readonly gapFillLimit: number;
  readonly onGap: (gap: Gap) => void;
  readonly clock: Clock;
  readonly logger: Logger;
}

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
 * each room in order, and moves the stored position on when everything before it has been handled.
 */
export class Delivery {
  readonly #options: DeliveryOptions;
  readonly #rooms = new KeyedQueue();
  readonly #ledger = new BatchLedger();
  readonly #seen = new RecentIds(REMEMBERED_EVENTS);
  readonly #positions: Map<string, DeliveredPosition>;
  readonly #stop = new AbortController();
  /** Whether the user has been delivered to before, so that what is new to us is news and no history. */
  #resuming: boolean;
  #underWay = 0;
  #wakeSource: (() => void) | undefined;
  #commits: Promise<void> = Promise.resolve();
  #commitScheduled = false;
  #finished = false;

  constructor(options: DeliveryOptions) {
    this.#options = options;
    this.#positions = new Map(options.stored.lastDelivered);
    this.#resuming = options.stored.since !== undefined || this.#positions.size > 0;
    for (const { eventId } of options.stored.journal) this.#seen.add(eventId);
  }

  connect(source: EventSource): void {
    source.connect((batch) => this.accept(batch));
  }

  /** Queues the batch's events. Resolves at once, or when callbacks have caught up if too much is under way. */
  async accept(batch: EventBatch): Promise<void> {
    if (this.#stop.signal.aborted) return;
    const open = this.#ledger.open(batch);
    const history = batch.since === undefined && !this.#resuming;
    const parts = batch.rooms.map((room) => this.#acceptRoom(open, room, history));
    for (const invite of batch.invites) {
      const event = toInvite(this.#options.userId, invite, history ? 'backlog' : provenanceOf(batch));
      if (event) parts.push(this.#dispatch(event));
    }
    this.#resuming = true;
    void this.#completeWhen(open, parts);
    if (this.#underWay > MAX_UNDER_WAY) await new Promise<void>((resolve) => (this.#wakeSource = resolve));
  }

  /** Ends gap-filling and retries; what no callback has begun with will come again. */
  abort(): void {
    this.#stop.abort();
    this.#wakeSource?.();
  }

  /** After {@link abort}, when the callbacks are done: stores how far everything got. */
  async finish(): Promise<void> {
    await this.#rooms.settled();
    await turnOfTheEventLoop();
    this.#scheduleCommit();
    await this.#commits;
    const rest = this.#ledger.takeRest();
    if (rest) await this.#commit(rest);
    this.#finished = true; // a callback that comes back later must not move the position of the client after this one
  }

  async #completeWhen(open: OpenBatch, parts: Promise<boolean>[]): Promise<void> {
    const handled = await Promise.all(parts);
    if (!handled.every(Boolean)) return; // it stays open: the position never moves beyond it
    open.complete = true;
    this.#scheduleCommit();
  }

  async #acceptRoom(open: OpenBatch, room: RoomBatch, history: boolean): Promise<boolean> {
    // The room's queue holds back later batches only while a gap is filled, not while callbacks run: those are
    // queued per callback and room anyway, and a slow one must not hold up the others.
    let events: Promise<boolean>[] = [];
    const planned = await this.#rooms.run(room.roomId, async () => {
      const plan = await this.#plan(open.batch, room, history);
      if (!plan) return false;
      events = plan.map(({ raw, provenance }) => this.#handle(open, room.roomId, raw, provenance));
      const provenance = history ? 'backlog' : provenanceOf(open.batch);
      const ephemeral = toEphemeralEvents(this.#options.userId, room, provenance);
      events.push(...ephemeral.map((event) => this.#dispatch(event)));
      this.#remember(open, room, room.timeline.at(-1));
      return true;
    });
    return planned && (await Promise.all(events)).every(Boolean);
  }

  /** The room's events in order, each with how it came; undefined when stopped on the way. */
  async #plan(batch: EventBatch, room: RoomBatch, history: boolean): Promise<Planned[] | undefined> {
    const { timeline } = room;
    if (history) return timeline.map((raw) => ({ raw, provenance: 'backlog' }));
    const known = this.#positions.get(room.roomId);
    const isKnown = (event: RawEvent): boolean =>
      known ? event.event_id === known.eventId : isOwnJoin(event, this.#options.userId);
    const edge = timeline.findLastIndex(isKnown);
    const provenance = provenanceOf(batch);
    if (edge >= 0) {
      // For a room just joined, what lies before the join is history; the join itself is news.
      const before = known ? [] : timeline.slice(0, edge).map((raw): Planned => ({ raw, provenance: 'backlog' }));
      return [...before, ...timeline.slice(known ? edge + 1 : edge).map((raw): Planned => ({ raw, provenance }))];
    }
    if (!known && batch.since === undefined) return timeline.map((raw) => ({ raw, provenance: 'backlog' }));
    const live = timeline.map((raw): Planned => ({ raw, provenance }));
    if (!room.limited || room.prevBatch === undefined) return live;
    const missed = await this.#fill(batch, room, room.prevBatch, isKnown);
    return missed && [...missed.map((raw): Planned => ({ raw, provenance: 'gap-fill' })), ...live];
  }

  async #fill(
    batch: EventBatch,
    room: RoomBatch,
    from: string,
    isKnown: (event: RawEvent) => boolean,
  ): Promise<RawEvent[] | undefined> {
    const { userId, readHistory, gapFillLimit, onGap, clock, logger } = this.#options;
    const { signal } = this.#stop;
    const { roomId } = room;
    const known = this.#positions.get(roomId)?.eventId;
    const gap = { userId, roomId, from: known, to: room.timeline[0]?.event_id };
    for (let failures = 1; ; failures++) {
      try {
        const request = { roomId, from, to: batch.since, isKnown, limit: gapFillLimit, signal };
        const { events, complete } = await fillGap(readHistory, request);
        if (!complete) onGap({ ...gap, to: events[0]?.event_id ?? gap.to, reason: 'limit' });
        return events;
      } catch (error) {
        const kind = failureClass(error);
        if (signal.aborted) return undefined;
        if (kind === 'permanent' || kind === 'unauthorised') {
          onGap({ ...gap, reason: 'error', error });
          return [];
        }
        logger.warn({ userId, roomId, err: error, failures }, 'filling a gap failed, trying again');
        const waited = delay(clock, backoffMs(failures, RETRY), signal, 'filling a gap').then(() => true);
        if (!(await waited.catch(() => false))) return undefined;
      }
    }
  }

  async #handle(open: OpenBatch, roomId: string, raw: RawEvent, provenance: Provenance): Promise<boolean> {
    if (!this.#seen.add(raw.event_id)) return true;
    const handled = await this.#dispatch(toTimelineEvent(this.#options.userId, roomId, raw, provenance));
    if (!handled) return false;
    if (provenance !== 'backlog') {
      this.#ledger.handled(open, { roomId, eventId: raw.event_id });
      this.#scheduleCommit();
    }
    return true;
  }

  #remember(open: OpenBatch, room: RoomBatch, last: RawEvent | undefined): void {
    if (room.membership === 'leave') {
      this.#positions.delete(room.roomId); // what is said before a return to the room is not for the user
      open.positions.set(room.roomId, null);
    } else if (last) {
      const position = { eventId: last.event_id };
      this.#positions.set(room.roomId, position);
      open.positions.set(room.roomId, position);
    }
  }

  async #dispatch(event: ClientEvent): Promise<boolean> {
    this.#underWay++;
    try {
      return await this.#options.dispatch(event, this.#stop.signal);
    } finally {
      this.#underWay--;
      if (this.#underWay <= MAX_UNDER_WAY / 2) {
        this.#wakeSource?.();
        this.#wakeSource = undefined;
      }
    }
  }

  /** What happens in one turn of the event loop is stored by one commit. */
  #scheduleCommit(): void {
    if (this.#commitScheduled || this.#finished) return;
    this.#commitScheduled = true;
    this.#commits = this.#commits.then(turnOfTheEventLoop).then(async () => {
      this.#commitScheduled = false;
      const change = this.#ledger.take();
      if (change) await this.#commit(change);
    });
  }

  /** Tries until the storage takes it: a change that is dropped would leave a hole in what the next ones build on. */
  async #commit(change: CheckpointChange): Promise<void> {
    const { userId, checkpoint, clock, logger } = this.#options;
    for (let failures = 1; ; failures++) {
      try {
        return await checkpoint.commit(change);
      } catch (error) {
        logger.error({ userId, err: error, failures }, 'storing the sync position failed');
        const waited = delay(clock, backoffMs(failures, RETRY), this.#stop.signal, 'storing').then(() => true);
        if (!(await waited.catch(() => false))) return; // what was not stored comes again
      }
    }
  }
}

function provenanceOf(batch: EventBatch): Provenance {
  return batch.catchUp ? 'gap-fill' : 'live';
}

/** Whether the user came into the room by this event, and not just changed their name in it. */
function isOwnJoin(event: RawEvent, userId: string): boolean {
  if (event.type !== 'm.room.member' || event.state_key !== userId || event.content.membership !== 'join') return false;
  const before = event.unsigned?.prev_content;
  return !isObject(before) || before.membership !== 'join';
}

function turnOfTheEventLoop(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
