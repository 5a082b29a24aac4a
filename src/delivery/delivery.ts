import type { ClientEvent, Provenance } from '../core/client-event.js';
import { nextEventLoopTurn } from '../core/event-loop.js';
import { isFromStart } from '../core/ports/event-source.js';
import type { EventBatch, InviteBatch, RoomBatch } from '../core/ports/event-source.js';
import { KeyedQueue } from '../core/keyed-queue.js';
import type { MemberOf, MemberProfile } from '../core/member-profile.js';
import { isObject, needsDecryption } from '../core/raw-event.js';
import type { RawEvent } from '../core/raw-event.js';
import { RecentIds } from '../core/recent-ids.js';
import type { CheckpointChange, DeliveredPosition, StoredCheckpoint } from '../storage/checkpoint.js';
import { BatchLedger, deliveredPosition } from './batch-ledger.js';
import type { TrackedBatch, TrackedEvent } from './batch-ledger.js';
import { CommitQueue } from './commit-queue.js';
import type { Edge } from './fill-gap.js';
import { GapFiller } from './gap-filler.js';
import type { GapFillerContext, GapFillerOptions } from './gap-filler.js';
import { toDeliveredEvent, toEphemeralEvents, toInvite, toPresence } from './to-client-events.js';
import { TypingLists } from './typing-lists.js';

export interface DeliveryOptions extends GapFillerOptions {
  /** The stored checkpoint at which this delivery begins. */
  readonly stored: StoredCheckpoint;
  /** Stores positions. */
  readonly commit: (change: CheckpointChange) => Promise<void>;
  /**
   * Calls the callbacks with an event. Resolves to false if the event was not handled and has to be delivered again.
   * Call `record()` after the last callback has finished; it resolves after one attempt to store that the event is
   * handled. Begin the room's next event after that.
   */
  readonly dispatch: (event: ClientEvent, signal: AbortSignal, record: () => Promise<void>) => Promise<boolean>;
  /**
   * Whether the user has callbacks. Without callbacks no event is delivered. Then only the end of the backlog and
   * `clientSince` are stored, so that later callbacks get the missed events.
   */
  readonly hasCallbacks: () => boolean;
  /** Decrypts an event, or marks it as unreadable. Undefined if `signal` ended the wait for its key. @default none */
  readonly decrypt?: Decrypt | undefined;
  /** The profile of a member of a room, if it is known. @default none is */
  readonly memberOf?: ((roomId: string, userId: string) => MemberProfile | undefined) | undefined;
}

export type Decrypt = (
  roomId: string,
  raw: RawEvent,
  provenance: Provenance,
  arrivedAt: number,
  signal: AbortSignal,
) => Promise<RawEvent | undefined>;

/** With more events than this in callbacks, `accept` makes the source wait, so that memory stays bounded. */
const MAX_EVENTS_IN_FLIGHT = 10_000;
/** How many event ids are kept to recognise duplicates. */
const REMEMBERED_EVENTS = 4_000;

/** A batch whose events are being delivered. */
interface AcceptedBatch extends EventBatch {
  readonly tracked: TrackedBatch;
  /** Whether it is the user's first batch. Its events are backlog then. */
  readonly isFirst: boolean;
  /** In milliseconds since the Unix epoch. */
  readonly arrivedAt: number;
}

interface PlannedEvent {
  readonly raw: RawEvent;
  readonly provenance: Provenance;
}

/**
 * Delivers one user's batches to the callbacks: sets each event's provenance (live, gap-fill or backlog), drops
 * duplicates, fills gaps, keeps the order of each room, and stores a position once everything before it is handled.
 *
 * This file is a little long because planning and dispatching share one invariant: no position moves past an
 * unhandled event.
 */
export class Delivery {
  readonly #context: GapFillerContext;
  readonly #options: Omit<DeliveryOptions, 'stored'>;
  readonly #gaps: GapFiller;
  readonly #roomQueues = new KeyedQueue();
  readonly #ledger: BatchLedger;
  readonly #seenEventIds = new RecentIds(REMEMBERED_EVENTS);
  /** Events from the stored journal: handled before the start, but after the stored sync position. */
  readonly #journaledIds: Set<string>;
  /** Each room's position after all accepted batches. The ledger's follow once the events before them are handled. */
  readonly #plannedPositions: Map<string, DeliveredPosition>;
  /** Joined rooms of which events were received, with the id of the first one; undefined if a gap is before it. */
  readonly #receivedRooms = new Map<string, string | undefined>();
  readonly #stopping = new AbortController();
  /** Whether the user has had a batch before. Without one, the events of the first batch are backlog. */
  #hasEarlierBatch: boolean;
  /** See {@link hasDeferredEvents}. */
  #hasDeferredEvents = false;
  /** See {@link hasDeferredBacklog}. */
  #hasDeferredBacklog = false;
  /** Whether a deferred batch's room state was left out. `clientSince` then stays: the stored rooms would not match it. */
  #hasUnstoredRooms = false;
  /** How many batches have unhandled events. */
  #unhandledBatches = 0;
  #eventsInFlight = 0;
  readonly #typing: TypingLists;
  #resumeSource: (() => void) | undefined;
  readonly #commits: CommitQueue;

  constructor(context: GapFillerContext, { stored, ...options }: DeliveryOptions) {
    const { userId, commit } = options;
    const { since, lastDelivered, journal } = stored; // the other parts are large and not needed here
    this.#context = context;
    this.#options = options;
    this.#gaps = new GapFiller(context, options);
    this.#ledger = new BatchLedger(journal.length, since);
    const takeChange = this.#ledger.takeChange.bind(this.#ledger);
    this.#commits = new CommitQueue(context, { userId, commit, takeChange, signal: this.#stopping.signal });
    this.#typing = new TypingLists(userId);
    this.#plannedPositions = new Map(lastDelivered);
    this.#hasEarlierBatch = since !== undefined || lastDelivered.size > 0;
    this.#journaledIds = new Set(journal.map(({ eventId }) => eventId));
  }

  /**
   * Queues the batch's events. Resolves immediately, or once callbacks catch up if more than `MAX_EVENTS_IN_FLIGHT` are
   * being handled. For the first batch, and for late rooms, resolves after the end of the backlog is stored:
   * events after it then count as new even after a crash.
   */
  async accept(batch: EventBatch): Promise<void> {
    if (this.#hasDeferredEvents || (!this.#stopping.signal.aborted && !this.#options.hasCallbacks()))
      return this.#deferBatch(batch);
    if (this.#stopping.signal.aborted) return;
    const backlogRooms = this.#recordRooms(batch, false);
    const tracked = this.#ledger.add(batch);
    const isFirst = this.#isFirst(batch);
    this.#unhandledBatches++;
    const accepted = { ...batch, tracked, isFirst, arrivedAt: this.#context.clock.now() };
    const deliveries = batch.rooms.map((room) => this.#acceptRoom(accepted, room));
    deliveries.push(...batch.invites.map((invite) => this.#acceptInvite(accepted, invite)));
    for (const update of batch.presence ?? []) {
      deliveries.push(this.#dispatch(toPresence(this.#options.userId, update, accepted.arrivedAt), async () => {}));
    }
    this.#hasEarlierBatch = true;
    void this.#completeAfter(tracked, deliveries);
    if (isFirst || batch.scope === 'late-rooms') {
      await nextEventLoopTurn();
      if (!tracked.isComplete) this.#storeBacklogEnd(batch, backlogRooms);
      await this.#commits.settled;
    }
    if (this.#stopping.signal.aborted) return; // aborted during the commit: abort() has already resumed the source
    if (this.#eventsInFlight > MAX_EVENTS_IN_FLIGHT) {
      await new Promise<void>((resolve) => (this.#resumeSource = resolve));
    }
  }

  /** How many rooms have a gap that is being retried, or that was given up because the homeserver failed. */
  get stalledRooms(): number {
    return this.#gaps.stalledRooms;
  }

  /** Whether events have to be fetched again for later callbacks. From then on this delivery delivers nothing more. */
  get hasDeferredEvents(): boolean {
    return this.#hasDeferredEvents;
  }

  /** Whether backlog of the first sync or of late rooms was received without callbacks. */
  get hasDeferredBacklog(): boolean {
    return this.#hasDeferredBacklog;
  }

  /** Delivers nothing from now on. The events are fetched again by a sync from the stored position. */
  deferAll(): void {
    this.#hasDeferredEvents = true;
  }

  /**
   * Call this when the last callback was removed. If events are unhandled, ends this delivery: for later callbacks, a sync
   * from the stored position fetches them again.
   */
  deferUnhandled(): void {
    if (this.#unhandledBatches === 0) return;
    this.#hasDeferredEvents = true;
    this.abort();
  }

  /** Ends gap-filling and retries. Events that no callback has begun with are delivered again by the next delivery. */
  abort(): void {
    this.#stopping.abort();
    this.#resumeSource?.();
  }

  /** Stores the final positions. Call it after {@link abort}, once the callbacks have finished. */
  async finish(): Promise<void> {
    await this.#roomQueues.settled();
    await nextEventLoopTurn(); // let the finished callbacks mark their events as handled
    await this.#commits.schedule();
    await nextEventLoopTurn(); // let closing connections remove their callbacks
    const pending = this.#commits.hasEnded ? undefined : this.#ledger.takePendingSince();
    if (pending) this.#commits.add(pending);
    await this.#commits.settled;
    this.#commits.end(); // a callback that returns later must not move the position of the next client
  }

  /** Begins no further commit, even if a hanging storage recovers: the position belongs to the next client then. */
  stopCommitting(): void {
    this.#commits.end();
  }

  async #completeAfter(tracked: TrackedBatch, deliveries: Promise<boolean>[]): Promise<void> {
    try {
      const handled = await Promise.all(deliveries);
      if (!handled.every(Boolean)) return; // the batch stays incomplete, so the position never moves past it
      this.#unhandledBatches--;
      this.#ledger.complete(tracked);
      await this.#commits.schedule();
    } catch (error) {
      this.#context.logger.error(
        { userId: this.#options.userId, err: error },
        'delivering the events of a sync failed',
      );
    }
  }

  /** Delivers nothing of a batch; stores where the backlog of its rooms ends, so that later events are not backlog. */
  async #deferBatch(batch: EventBatch): Promise<void> {
    if (this.#commits.hasEnded) return;
    const { position, scope, rooms, invites, resume } = batch;
    const backlogRooms = this.#recordRooms(batch, true);
    const isFirst = this.#isFirst(batch);
    if (isFirst || scope === 'late-rooms') {
      this.#hasEarlierBatch ||= isFirst;
      this.#hasDeferredBacklog = true;
      const lastDelivered = backlogEnds(backlogRooms);
      for (const [roomId, end] of lastDelivered) this.#plannedPositions.set(roomId, end);
      if (isFirst || lastDelivered.size > 0 || resume) {
        this.#commits.add({ ...(isFirst && { since: position }), ...resume, lastDelivered });
      }
    } else if (rooms.length + invites.length > 0 || resume) {
      this.#hasDeferredEvents = true;
      this.#storeClientPosition(batch);
    }
    await this.#commits.settled;
  }

  #isFirst(batch: EventBatch): boolean {
    return isFromStart(batch) && !this.#hasEarlierBatch;
  }

  /**
   * Records the rooms of the batch as received. Returns those whose last event ends their backlog: rooms without a
   * position, of which no event was received before. In other rooms newer events may be unhandled, and a stored end would
   * skip them.
   * @param isDeferred - whether the earlier events were not delivered either: the older events of their rooms are then
   *   returned, too
   */
  #recordRooms({ rooms }: EventBatch, isDeferred: boolean): RoomBatch[] {
    return rooms.flatMap((room) => {
      const { roomId, membership, timeline, limited } = room;
      const wasReceived = this.#receivedRooms.has(roomId);
      const firstId = this.#receivedRooms.get(roomId);
      if (membership === 'leave') this.#receivedRooms.delete(roomId);
      else if (!wasReceived && (limited || timeline.length > 0)) {
        this.#receivedRooms.set(roomId, limited ? undefined : timeline[0]?.event_id);
      }
      if (this.#plannedPositions.has(roomId)) return [];
      if (!wasReceived) return [room];
      const first = isDeferred ? timeline.findIndex(({ event_id: id }) => id === firstId) : -1;
      return first > 0 ? [{ ...room, timeline: timeline.slice(0, first) }] : [];
    });
  }

  /** Stores `clientSince`: the client continues from there, while deferred events are fetched from `since`. */
  #storeClientPosition({ position, rooms, invites, resume }: EventBatch): void {
    // Earlier batches are still being handled. Their older room state is stored later and would overwrite this one.
    if (this.#unhandledBatches > 0) this.#hasUnstoredRooms = true;
    const hasChanges = resume !== undefined || invites.length > 0 || rooms.some(({ timeline }) => timeline.length > 0);
    if (this.#hasUnstoredRooms || !hasChanges) return;
    this.#commits.add({ clientSince: position, ...resume });
  }

  /**
   * Stores where the backlog ends, for a batch that is not handled at once because a callback asked for the backlog.
   */
  #storeBacklogEnd({ scope, position, resume }: EventBatch, backlogRooms: readonly RoomBatch[]): void {
    const lastDelivered = backlogEnds(backlogRooms);
    const moreRoomsFollow = scope === 'first-rooms';
    if (lastDelivered.size === 0 && !moreRoomsFollow) return;
    // After a crash the rooms still to be loaded count as backlog up to this position, so it is stored now.
    const { accountData } = resume ?? {};
    const positionChange = { since: position, ...(accountData !== undefined && { accountData }) };
    this.#commits.add({ ...(moreRoomsFollow && positionChange), lastDelivered });
  }

  async #acceptRoom(batch: AcceptedBatch, room: RoomBatch): Promise<boolean> {
    // The room's queue delays later batches only while a gap is filled or a key is awaited. Callbacks run outside of
    // it: they have queues of their own per room, and a slow callback must not delay the others.
    const deliveries: Promise<boolean>[] = [];
    const { roomId } = room;
    const isPlanned = await this.#roomQueues.run(roomId, async () => {
      // After a stop a gap may be unfilled: plan nothing, so that the room's position does not move past it.
      const plan = this.#stopping.signal.aborted ? undefined : await this.#planEvents(batch, room);
      if (!plan) return false;
      const hasLeft = room.membership === 'leave';
      if (room.isGone) this.#reportGoneRoom(roomId);
      const hasBacklog = plan.some((event) => event.provenance === 'backlog');
      // Undelivered backlog before this position stays pending, because a later callback may ask for it.
      const position = this.#plannedPositions.get(roomId);
      const wasPending = position ? position.history : room.isAwaitingBackfill;
      const backlogPending = !hasBacklog && wasPending === true;
      for (const planned of plan) {
        const { raw, provenance } = planned;
        const readable = needsDecryption(raw) ? await this.#decrypt(roomId, planned, batch.arrivedAt) : raw;
        if (!readable) return false;
        const movesPosition = !hasLeft && provenance !== 'backlog';
        if (this.#seenEventIds.has(readable.event_id)) continue;
        this.#seenEventIds.add(readable.event_id);
        const step = this.#ledger.addEvent(batch.tracked, roomId, readable.event_id, movesPosition, backlogPending);
        const memberOf: MemberOf = (userId) => this.#options.memberOf?.(roomId, userId);
        const event = toDeliveredEvent(this.#options.userId, roomId, readable, provenance, memberOf);
        deliveries.push(this.#deliver(step, event));
      }
      const provenance = batch.isFirst || batch.scope === 'late-rooms' ? 'backlog' : provenanceOfNewEvents(room, batch);
      for (const event of toEphemeralEvents(this.#options.userId, room, provenance)) {
        const changed = event.type === 'typing' ? this.#typing.takeChange(event) : event;
        if (changed) deliveries.push(this.#dispatch(changed, async () => {}));
      }
      this.#updatePosition(batch, room, backlogPending, hasLeft || hasBacklog);
      return true;
    });
    return isPlanned && (await Promise.all(deliveries)).every(Boolean);
  }

  async #acceptInvite(batch: AcceptedBatch, invite: InviteBatch): Promise<boolean> {
    const provenance = batch.isFirst ? 'backlog' : provenanceOfNewEvents(invite, batch);
    const event = toInvite(this.#options.userId, invite, provenance);
    if (!event) return true;
    const memberEvent = invite.state.find(({ type, sender }) => type === 'm.room.member' && sender === event.sender);
    // Most invitations have no event id, but the journal needs an id.
    const id = `invite ${event.sender} ${String(memberEvent?.origin_server_ts)}`;
    return this.#deliver(this.#ledger.addEvent(batch.tracked, invite.roomId, id, false), event);
  }

  /** The room's events in order with their provenance. Fills a gap first; undefined if stopped before that succeeds. */
  async #planEvents(batch: AcceptedBatch, room: RoomBatch): Promise<PlannedEvent[] | undefined> {
    const { roomId, timeline, prevBatch } = room;
    const position = this.#plannedPositions.get(roomId);
    const isBacklog = batch.isFirst || (batch.scope === 'late-rooms' && !position);
    if (isBacklog) return withProvenance('backlog', timeline);
    const edge = (event: RawEvent): Edge => {
      if (position) return event.event_id === position.eventId ? 'known' : 'none';
      return isOwnJoin(event, this.#options.userId) ? 'first' : 'none';
    };
    const provenance = provenanceOfNewEvents(room, batch);
    const edgeIndex = timeline.findLastIndex((event) => edge(event) !== 'none');
    if (edgeIndex >= 0) {
      // In a room that was just joined, events before the join are backlog; the join itself is new.
      const firstNew = position ? edgeIndex + 1 : edgeIndex;
      const deliversBacklog = position ? position.history && batch.scope !== 'changes' : true;
      return [
        ...withProvenance('backlog', deliversBacklog ? timeline.slice(0, firstNew) : []),
        ...withProvenance(provenance, timeline.slice(firstNew)),
      ];
    }
    // The source has left out the events that are newer than its position, so only older ones remain.
    if (hasOnlyOlderEvents(position, room, batch)) return withProvenance('backlog', position?.history ? timeline : []);
    const received = withProvenance(provenance, timeline);
    if (!room.limited || prevBatch === undefined) return received;
    const neighbours = { lastEventBefore: position?.eventId, firstEventAfter: timeline[0]?.event_id };
    const gap = { roomId, newerToken: prevBatch, olderToken: room.gapStart, edge, ...neighbours };
    const missed = await this.#gaps.fetchMissing(gap, this.#stopping.signal);
    return missed && [...withProvenance('gap-fill', missed), ...received];
  }

  async #decrypt(roomId: string, { raw, provenance }: PlannedEvent, arrivedAt: number): Promise<RawEvent | undefined> {
    const { decrypt } = this.#options;
    const isHandled = this.#seenEventIds.has(raw.event_id) || this.#journaledIds.has(raw.event_id);
    if (!decrypt || isHandled) return raw;
    return decrypt(roomId, raw, provenance, arrivedAt, this.#stopping.signal);
  }

  async #deliver(step: TrackedEvent, event: ClientEvent): Promise<boolean> {
    if (this.#journaledIds.delete(step.eventId)) {
      this.#ledger.markHandled(step, true);
      return true;
    }
    const record = (): Promise<void> => {
      this.#ledger.markHandled(step);
      // Waits for one attempt only: while the storage fails, callbacks go on, and a crash may repeat events.
      return this.#commits.attempt();
    };
    if (!(await this.#dispatch(event, record))) return false;
    if (step.isDone) return true;
    this.#ledger.markHandled(step);
    setImmediate(() => void this.#commits.schedule()); // deferred, so that it shares the commit of its batch
    return true;
  }

  #reportGoneRoom(roomId: string): void {
    const { userId, onGap } = this.#options;
    onGap({ userId, roomId, from: this.#plannedPositions.get(roomId)?.eventId, to: undefined, reason: 'gone' });
  }

  #updatePosition(batch: AcceptedBatch, room: RoomBatch, backlogPending: boolean, movesWithBatch: boolean): void {
    const { roomId, membership, timeline } = room;
    const stored = this.#plannedPositions.get(roomId);
    const last = hasOnlyOlderEvents(stored, room, batch) ? stored?.eventId : timeline.at(-1)?.event_id;
    if (membership === 'leave') {
      this.#gaps.forget(roomId);
      this.#plannedPositions.delete(roomId); // events until the user rejoins are not delivered
      this.#ledger.addPosition(batch.tracked, roomId, null);
    } else if (last) {
      const position = deliveredPosition(last, backlogPending);
      this.#plannedPositions.set(roomId, position);
      if (movesWithBatch) this.#ledger.addPosition(batch.tracked, roomId, position);
    }
  }

  async #dispatch(event: ClientEvent, record: () => Promise<void>): Promise<boolean> {
    if (this.#stopping.signal.aborted) return false; // without callbacks left, dispatch() would count it as handled
    this.#eventsInFlight++;
    try {
      return await this.#options.dispatch(event, this.#stopping.signal, record);
    } finally {
      this.#eventsInFlight--;
      if (this.#eventsInFlight <= MAX_EVENTS_IN_FLIGHT / 2) {
        this.#resumeSource?.();
        this.#resumeSource = undefined;
      }
    }
  }
}

/** The last event of each joined room: where its backlog ends. */
function backlogEnds(rooms: readonly RoomBatch[]): Map<string, DeliveredPosition> {
  const ends = new Map<string, DeliveredPosition>();
  for (const { roomId, membership, timeline } of rooms) {
    const last = membership === 'join' ? timeline.at(-1) : undefined;
    if (last) ends.set(roomId, { eventId: last.event_id, history: true });
  }
  return ends;
}

function withProvenance(provenance: Provenance, events: readonly RawEvent[]): PlannedEvent[] {
  return events.map((raw) => ({ raw, provenance }));
}

/** The provenance of events that are newer than a delivered one; also in a room that the source calls backlog. */
function provenanceOfNewEvents({ provenance }: RoomBatch | InviteBatch, { scope }: EventBatch): Provenance {
  if (provenance !== 'backlog') return provenance;
  return scope === 'late-rooms' ? 'gap-fill' : 'live';
}

/**
 * Whether a late room has only events from before its position. The source has removed the events that its live sync
 * returned, so a timeline without the position's event has only older ones.
 */
function hasOnlyOlderEvents(
  position: DeliveredPosition | undefined,
  { membership, timeline }: RoomBatch,
  { scope }: EventBatch,
): boolean {
  if (scope !== 'late-rooms' || membership === 'leave' || !position || timeline.length === 0) return false;
  return !timeline.some(({ event_id: id }) => id === position.eventId);
}

/** Whether the user joined the room with this event. Profile changes are `join` events, too, but are no joins. */
function isOwnJoin(event: RawEvent, userId: string): boolean {
  if (event.type !== 'm.room.member' || event.state_key !== userId || event.content.membership !== 'join') return false;
  const before = event.unsigned?.prev_content;
  return !isObject(before) || before.membership !== 'join';
}
