import type { EventBatch } from '../core/ports/event-source.js';
import type { CheckpointChange, DeliveredPosition, JournalEntry } from '../storage/checkpoint.js';
import { RoomProgress } from './room-progress.js';
import type { Step } from './room-progress.js';

/** A batch whose events are being handled, or a run of neighbouring batches whose events are all handled. */
export interface OpenBatch {
  nextBatch: string;
  rooms: Map<string, string | null> | undefined;
  accountData: string | undefined;
  /** Where rooms stand when the batch is handled, and all before it. In no order. */
  marks: RoomStep[];
  /** Its events that the journal holds. In no order. */
  journaled: JournalEntry[];
  complete: boolean;
  /** Whether the stored sync position is beyond it. */
  covered: boolean;
  /** The run that it has become a part of. */
  run: OpenBatch | undefined;
  previous: OpenBatch | undefined;
  next: OpenBatch | undefined;
}

interface RoomStep extends Step {
  readonly open: OpenBatch;
  readonly roomId: string;
}

/** An event that callbacks have been given. */
export interface EventStep extends RoomStep {
  readonly eventId: string;
}

/**
 * Says what may be stored. The sync position moves over handled batches in the order they came, each room's position
 * over its handled events, neither beyond a hole. The journal holds what is handled in batches that are not: a room's
 * position alone would not do, since a homeserver may answer an old sync position with an old answer, which ends
 * before it.
 *
 * A callback that never returns holds one batch back while hundreds of thousands follow. Handled neighbours are joined
 * when they are complete, the smaller list into the larger, so an event costs the same however much waits.
 */
export class BatchLedger {
  /** The batches in a doubly linked list, from the oldest on. */
  #oldest: OpenBatch | undefined;
  #newest: OpenBatch | undefined;
  readonly #rooms = new Map<string, RoomProgress>();
  readonly #changedRooms = new Set<string>();
  #handled: EventStep[] = [];
  #journaled: number;
  /** Position of empty syncs; stored together with the next change, or at the end. */
  #idleSince: string | undefined;

  /** @param journaled - how many entries the stored journal has */
  constructor(journaled = 0) {
    this.#journaled = journaled;
  }

  open({ nextBatch, resume }: EventBatch): OpenBatch {
    const open: OpenBatch = {
      nextBatch,
      rooms: resume && new Map(resume.rooms),
      accountData: resume?.accountData,
      marks: [],
      journaled: [],
      complete: false,
      covered: false,
      run: undefined,
      previous: this.#newest,
      next: undefined,
    };
    if (this.#newest) this.#newest.next = open;
    this.#oldest ??= open;
    this.#newest = open;
    return open;
  }

  /** All events of the batch are handled. */
  complete(open: OpenBatch): void {
    open.complete = true;
    if (open.next?.complete) this.#join(open, open.next);
    if (open.previous?.complete) this.#join(open.previous, open);
  }

  /**
   * The next event of a room.
   * @param moves - false where the room's position must not stand there
   * @param kept - what the position keeps from the one before
   */
  expect(
    open: OpenBatch,
    roomId: string,
    eventId: string,
    moves: boolean,
    kept: Pick<DeliveredPosition, 'history'> = {},
  ): EventStep {
    const step = { open, roomId, eventId, position: moves ? { eventId, ...kept } : undefined, handled: false };
    this.#room(roomId).push(step);
    return step;
  }

  /** Where the room stands when the batch is handled. */
  mark(open: OpenBatch, roomId: string, position: DeliveredPosition | null): void {
    const mark: RoomStep = { open, roomId, position, handled: false };
    this.#room(roomId).push(mark);
    open.marks.push(mark);
  }

  /** The event was handled. @param journaled - before the start, so that the journal has it */
  handled(step: EventStep, journaled = false): void {
    if (step.handled) return;
    step.handled = true;
    this.#changedRooms.add(step.roomId);
    if (journaled) runOf(step.open).journaled.push(entryOf(step));
    else this.#handled.push(step);
  }

  /** What to store now; undefined when there is nothing worth a write. */
  take(): CheckpointChange | undefined {
    const done = this.#takeDone();
    const add = this.#takeJournal();
    const lastDelivered = this.#takePositions();
    const { rooms, accountData } = done ?? {};
    let prune: readonly JournalEntry[] | 'all' = done?.journaled ?? [];
    if (lastDelivered.size + add.length + prune.length === 0 && !rooms) return undefined;
    this.#journaled += add.length - prune.length;
    if (!this.#oldest && this.#journaled > 0) {
      prune = 'all'; // what is left are events that did not come again
      this.#journaled = 0;
    }
    return {
      ...this.takeRest(),
      ...(rooms && rooms.size > 0 && { rooms }),
      ...(accountData !== undefined && { accountData }),
      ...(lastDelivered.size > 0 && { lastDelivered }),
      ...(prune.length + add.length > 0 && { journal: { prune, add } }),
    };
  }

  /** The position that {@link take} did not find worth storing by itself. */
  takeRest(): CheckpointChange | undefined {
    const since = this.#idleSince;
    this.#idleSince = undefined;
    return since === undefined ? undefined : { since };
  }

  #room(roomId: string): RoomProgress {
    const room = this.#rooms.get(roomId) ?? new RoomProgress();
    this.#rooms.set(roomId, room);
    return room;
  }

  #takeJournal(): JournalEntry[] {
    const added: JournalEntry[] = [];
    for (const step of this.#handled) {
      const run = runOf(step.open);
      if (run.covered) continue;
      const entry = entryOf(step);
      added.push(entry);
      run.journaled.push(entry);
    }
    this.#handled = [];
    return added;
  }

  #takePositions(): Map<string, DeliveredPosition | null> {
    const positions = new Map<string, DeliveredPosition | null>();
    for (const roomId of this.#changedRooms) {
      const room = this.#room(roomId);
      const position = room.take();
      if (position !== undefined) positions.set(roomId, position);
      if (room.isEmpty) this.#rooms.delete(roomId);
    }
    this.#changedRooms.clear();
    return positions;
  }

  /** The batches that are handled from the oldest on, as one. */
  #takeDone(): OpenBatch | undefined {
    const done = this.#oldest;
    if (!done?.complete) return undefined;
    this.#oldest = done.next;
    if (done.next) done.next.previous = undefined;
    else this.#newest = undefined;
    done.covered = true;
    this.#idleSince = done.nextBatch;
    for (const mark of done.marks) {
      mark.handled = true;
      this.#changedRooms.add(mark.roomId);
    }
    return done;
  }

  /** Makes `later` a part of `earlier`, its neighbour. */
  #join(earlier: OpenBatch, later: OpenBatch): void {
    earlier.next = later.next;
    if (later.next) later.next.previous = earlier;
    else this.#newest = earlier;
    earlier.nextBatch = later.nextBatch;
    earlier.rooms = mergedRooms(earlier.rooms, later.rooms);
    earlier.accountData = later.accountData ?? earlier.accountData;
    earlier.marks = joined(earlier.marks, later.marks);
    earlier.journaled = joined(earlier.journaled, later.journaled);
    later.run = earlier;
    later.previous = undefined;
    later.next = undefined;
    later.rooms = undefined;
    later.marks = [];
    later.journaled = [];
  }
}

/** The run that a batch has become a part of, or the batch itself. Shortens the way for the next look. */
function runOf(open: OpenBatch): OpenBatch {
  let at = open;
  while (at.run) {
    if (at.run.run) at.run = at.run.run;
    at = at.run;
  }
  return at;
}

function joined<T>(one: T[], other: T[]): T[] {
  const [small, large] = one.length < other.length ? [one, other] : [other, one];
  for (const item of small) large.push(item); // not by spreading them into arguments, whose number is limited
  return large;
}

function mergedRooms(earlier: OpenBatch['rooms'], later: OpenBatch['rooms']): OpenBatch['rooms'] {
  if (!earlier || !later) return later ?? earlier;
  if (earlier.size >= later.size) {
    for (const [roomId, state] of later) earlier.set(roomId, state);
    return earlier;
  }
  for (const [roomId, state] of earlier) if (!later.has(roomId)) later.set(roomId, state);
  return later;
}

function entryOf({ roomId, eventId }: EventStep): JournalEntry {
  return { roomId, eventId };
}
