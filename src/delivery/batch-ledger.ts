import type { EventBatch, ResumeData } from '../core/event-source.js';
import type { CheckpointChange, DeliveredPosition, JournalEntry } from '../storage/checkpoint.js';
import { RoomProgress } from './room-progress.js';
import type { Step } from './room-progress.js';

/** A batch whose events are being handled. */
export interface OpenBatch {
  readonly nextBatch: string;
  resume: ResumeData | undefined;
  /** Where rooms stand when the batch is handled, and all before it. */
  readonly marks: RoomStep[];
  record: BatchRecord;
  complete: boolean;
}

/** What is stored of a batch; batches that have become one share it. */
interface BatchRecord {
  /** Events that the journal holds. */
  readonly journaled: JournalEntry[];
  /** Whether the stored sync position is beyond it. */
  covered: boolean;
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
 */
export class BatchLedger {
  readonly #open: OpenBatch[] = [];
  readonly #rooms = new Map<string, RoomProgress>();
  readonly #changedRooms = new Set<string>();
  #handled: EventStep[] = [];
  #journaled: number;
  /** A position that nothing but time has moved to; it is stored with the next change, or at the end. */
  #idleSince: string | undefined;

  /** @param journaled - how many entries the stored journal has */
  constructor(journaled = 0) {
    this.#journaled = journaled;
  }

  open({ nextBatch, resume }: EventBatch): OpenBatch {
    const open: OpenBatch = {
      nextBatch,
      resume,
      marks: [],
      record: { journaled: [], covered: false },
      complete: false,
    };
    this.#open.push(open);
    return open;
  }

  /** The next event of a room. @param moves - false where the room's position must not stand there */
  expect(open: OpenBatch, roomId: string, eventId: string, moves: boolean): EventStep {
    const step = { open, roomId, eventId, position: moves ? { eventId } : undefined, handled: false };
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
    if (journaled) step.open.record.journaled.push(entryOf(step));
    else this.#handled.push(step);
  }

  /** What to store now; undefined when there is nothing worth a write. */
  take(): CheckpointChange | undefined {
    const done = this.#takeDone();
    const add = this.#takeJournal();
    const lastDelivered = this.#takePositions();
    const { rooms, accountData } = done?.resume ?? {};
    let prune: readonly JournalEntry[] | 'all' = done?.record.journaled ?? [];
    if (lastDelivered.size + add.length + prune.length === 0 && !done?.resume) return undefined;
    this.#journaled += add.length - prune.length;
    if (this.#open.length === 0 && this.#journaled > 0) {
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
    const steps = this.#handled.filter(({ open }) => !open.record.covered);
    this.#handled = [];
    return steps.map((step) => {
      const entry = entryOf(step);
      step.open.record.journaled.push(entry);
      return entry;
    });
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
    // Those that wait behind a slow one become one as well, or they would pile up.
    for (let i = this.#open.length - 1; i > 0; i--) {
      const [earlier, later] = this.#open.slice(i - 1, i + 1) as [OpenBatch, OpenBatch];
      if (!earlier.complete || !later.complete) continue;
      absorb(later, earlier);
      this.#open.splice(i - 1, 1);
    }
    if (!this.#open[0]?.complete) return undefined;
    const done = this.#open.shift() as OpenBatch;
    done.record.covered = true;
    this.#idleSince = done.nextBatch;
    for (const mark of done.marks) {
      mark.handled = true;
      this.#changedRooms.add(mark.roomId);
    }
    return done;
  }
}

function absorb(later: OpenBatch, earlier: OpenBatch): void {
  later.resume = mergedResume(earlier.resume, later.resume);
  later.marks.unshift(...earlier.marks);
  later.record.journaled.unshift(...earlier.record.journaled);
  earlier.record = later.record;
}

function mergedResume(earlier: ResumeData | undefined, later: ResumeData | undefined): ResumeData | undefined {
  if (!earlier || !later) return later ?? earlier;
  return { ...earlier, ...later, rooms: new Map([...earlier.rooms, ...later.rooms]) };
}

function entryOf({ roomId, eventId }: EventStep): JournalEntry {
  return { roomId, eventId };
}
