import type { EventBatch } from '../core/ports/event-source.js';
import type { CheckpointChange, DeliveredPosition, JournalEntry } from '../storage/checkpoint.js';
import { RoomProgress } from './room-progress.js';
import type { Step } from './room-progress.js';

/** A batch whose events are being handled. Neighbouring handled batches are merged into one. */
export interface TrackedBatch {
  syncPosition: string;
  /** The source's resume data, stored together with `syncPosition`. */
  readonly roomStates: Map<string, string | null>;
  accountData: string | undefined;
  /** Room positions that apply once this batch and all before it are handled. Unordered. */
  roomSteps: RoomStep[];
  /** The batch's events that are in the journal. Unordered. */
  journaled: JournalEntry[];
  isComplete: boolean;
  /** Whether the sync position has moved past the batch. */
  isCovered: boolean;
  /** The batch that this one was merged into. */
  mergedInto: TrackedBatch | undefined;
  previous: TrackedBatch | undefined;
  next: TrackedBatch | undefined;
}

interface RoomStep extends Step {
  readonly batch: TrackedBatch;
  readonly roomId: string;
}

/** An event of a batch, from its planning until it is handled. */
export interface TrackedEvent extends RoomStep {
  readonly eventId: string;
}

/**
 * Decides which positions may be stored. The sync position moves over handled batches in order, and each room's
 * position over its handled events in order; neither moves past an unhandled one. The journal lists handled events of
 * batches that are not handled yet. A room's position cannot replace the journal: the homeserver may return an old,
 * cached response for an old sync position, and that response may end before the room's position.
 *
 * While one callback never returns, hundreds of thousands of batches may queue behind its batch. So neighbouring
 * handled batches are merged, the smaller list into the larger: the cost per event does not grow with the queue. Room
 * states go into the earlier batch, at most one per room of the user.
 */
export class BatchLedger {
  /** The batches in a doubly linked list, from the oldest on. */
  #oldest: TrackedBatch | undefined;
  #newest: TrackedBatch | undefined;
  readonly #rooms = new Map<string, RoomProgress>();
  readonly #changedRooms = new Set<string>();
  #handledEvents: TrackedEvent[] = [];
  #journalSize: number;
  /** The sync position reached but not stored yet. It is stored with the next change, or by the stop. */
  #pendingSince: string | undefined;
  /**
   * The stored sync position at the start. Late rooms do not move it, and after a crash the events that follow it are
   * received again.
   */
  readonly #initialSince: string | undefined;

  /**
   * @param journaled - number of entries in the stored journal
   * @param since - the stored sync position
   */
  constructor(journaled = 0, since?: string) {
    this.#journalSize = journaled;
    this.#initialSince = since;
  }

  add({ position, resume }: EventBatch): TrackedBatch {
    const tracked: TrackedBatch = {
      syncPosition: position,
      roomStates: new Map(resume?.rooms),
      accountData: resume?.accountData,
      roomSteps: [],
      journaled: [],
      isComplete: false,
      isCovered: false,
      mergedInto: undefined,
      previous: this.#newest,
      next: undefined,
    };
    if (this.#newest) this.#newest.next = tracked;
    this.#oldest ??= tracked;
    this.#newest = tracked;
    return tracked;
  }

  /** Call this when all events of the batch are handled. */
  complete(batch: TrackedBatch): void {
    batch.isComplete = true;
    if (batch.next?.isComplete) this.#merge(batch, batch.next);
    if (batch.previous?.isComplete) this.#merge(batch.previous, batch);
  }

  /**
   * Adds the next event of a room.
   * @param movesPosition - false if the room's position must not be set to this event
   * @param backlogPending - whether the backlog before the event was not delivered; stored with the position as `history`
   */
  addEvent(
    batch: TrackedBatch,
    roomId: string,
    eventId: string,
    movesPosition: boolean,
    backlogPending = false,
  ): TrackedEvent {
    const step = {
      batch,
      roomId,
      eventId,
      position: movesPosition ? deliveredPosition(eventId, backlogPending) : undefined,
      isDone: false,
    };
    this.#room(roomId).push(step);
    return step;
  }

  /** Adds a position that the room gets once the batch is handled; null deletes the room's position. */
  addPosition(batch: TrackedBatch, roomId: string, position: DeliveredPosition | null): void {
    const step: RoomStep = { batch, roomId, position, isDone: false };
    this.#room(roomId).push(step);
    batch.roomSteps.push(step);
  }

  /** @param isJournaled - whether the stored journal already has the event */
  markHandled(step: TrackedEvent, isJournaled = false): void {
    if (step.isDone) return;
    step.isDone = true;
    this.#changedRooms.add(step.roomId);
    if (isJournaled) mergedBatchOf(step.batch).journaled.push(toJournalEntry(step));
    else this.#handledEvents.push(step);
  }

  /** Returns the change to store; undefined if nothing but the sync position has changed. */
  takeChange(): CheckpointChange | undefined {
    const handledBatches = this.#takeHandledBatches();
    const add = this.#takeJournal();
    const lastDelivered = this.#takePositions();
    const { roomStates: rooms = new Map<string, null>(), accountData } = handledBatches ?? {};
    let prune: readonly JournalEntry[] | 'all' = handledBatches?.journaled ?? [];
    if (lastDelivered.size + add.length + prune.length + rooms.size === 0 && accountData === undefined)
      return undefined;
    this.#journalSize += add.length - prune.length;
    const hasMoved = handledBatches !== undefined && handledBatches.syncPosition !== this.#initialSince;
    if (hasMoved && !this.#oldest && this.#journalSize > 0) {
      prune = 'all'; // no batch is left, so the remaining entries are events that were not received again
      this.#journalSize = 0;
    }
    return {
      ...this.takePendingSince(),
      ...(rooms.size > 0 && { rooms }),
      ...(accountData !== undefined && { accountData }),
      ...(lastDelivered.size > 0 && { lastDelivered }),
      ...(prune.length + add.length > 0 && { journal: { prune, add } }),
    };
  }

  /** Returns the sync position, if {@link takeChange} has not returned it yet. */
  takePendingSince(): CheckpointChange | undefined {
    const since = this.#pendingSince;
    this.#pendingSince = undefined;
    return since === undefined ? undefined : { since };
  }

  #room(roomId: string): RoomProgress {
    const room = this.#rooms.get(roomId) ?? new RoomProgress();
    this.#rooms.set(roomId, room);
    return room;
  }

  #takeJournal(): JournalEntry[] {
    const added: JournalEntry[] = [];
    for (const step of this.#handledEvents) {
      const batch = mergedBatchOf(step.batch);
      if (batch.isCovered) continue;
      const entry = toJournalEntry(step);
      added.push(entry);
      batch.journaled.push(entry);
    }
    this.#handledEvents = [];
    return added;
  }

  #takePositions(): Map<string, DeliveredPosition | null> {
    const positions = new Map<string, DeliveredPosition | null>();
    for (const roomId of this.#changedRooms) {
      const room = this.#room(roomId);
      const position = room.takePosition();
      if (position !== undefined) positions.set(roomId, position);
      if (room.isEmpty) this.#rooms.delete(roomId);
    }
    this.#changedRooms.clear();
    return positions;
  }

  /** Removes and returns the oldest batches that are handled, merged into one. */
  #takeHandledBatches(): TrackedBatch | undefined {
    const run = this.#oldest;
    if (!run?.isComplete) return undefined;
    this.#oldest = run.next;
    if (run.next) run.next.previous = undefined;
    else this.#newest = undefined;
    run.isCovered = true;
    this.#pendingSince = run.syncPosition;
    for (const step of run.roomSteps) {
      step.isDone = true;
      this.#changedRooms.add(step.roomId);
    }
    return run;
  }

  /** Merges `later` into `earlier`, the batch before it. */
  #merge(earlier: TrackedBatch, later: TrackedBatch): void {
    earlier.next = later.next;
    if (later.next) later.next.previous = earlier;
    else this.#newest = earlier;
    earlier.syncPosition = later.syncPosition;
    for (const [roomId, state] of later.roomStates) earlier.roomStates.set(roomId, state);
    earlier.accountData = later.accountData ?? earlier.accountData;
    earlier.roomSteps = appendToLarger(earlier.roomSteps, later.roomSteps);
    earlier.journaled = appendToLarger(earlier.journaled, later.journaled);
    later.mergedInto = earlier;
    later.previous = undefined;
    later.next = undefined;
    later.roomStates.clear();
    later.roomSteps = [];
    later.journaled = [];
  }
}

/** The batch that this one was finally merged into, or the batch itself. Shortens the chain for later calls. */
function mergedBatchOf(batch: TrackedBatch): TrackedBatch {
  let current = batch;
  while (current.mergedInto) {
    if (current.mergedInto.mergedInto) current.mergedInto = current.mergedInto.mergedInto;
    current = current.mergedInto;
  }
  return current;
}

/** @param backlogPending - whether the backlog before the event was not delivered */
export function deliveredPosition(eventId: string, backlogPending: boolean): DeliveredPosition {
  return { eventId, ...(backlogPending && { history: true as const }) };
}

function appendToLarger<T>(one: T[], other: T[]): T[] {
  const [small, large] = one.length < other.length ? [one, other] : [other, one];
  for (const item of small) large.push(item); // not push(...small): the number of arguments is limited
  return large;
}

function toJournalEntry({ roomId, eventId }: TrackedEvent): JournalEntry {
  return { roomId, eventId };
}
