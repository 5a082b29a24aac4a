import type { EventBatch, ResumeData } from '../core/event-source.js';
import type { CheckpointChange, DeliveredPosition, JournalEntry } from '../storage/checkpoint.js';
import { RoomProgress } from './room-progress.js';
import type { Step } from './room-progress.js';

/** A batch whose events are being handled. */
export interface OpenBatch {
  nextBatch: string;
  resume: ResumeData | undefined;
  /** What counts as handled when the batch is, and all before it. */
  readonly marks: Step[];
  complete: boolean;
}

/**
 * Says what may be stored: the sync position moves over handled batches in the order they came, each room's position
 * over its handled events, neither beyond a hole.
 */
export class BatchLedger {
  readonly #open: OpenBatch[] = [];
  readonly #rooms = new Map<string, RoomProgress>();
  readonly #changed = new Set<string>();
  #journaled: number;
  /** A position that nothing but time has moved to; it is stored with the next change, or at the end. */
  #idleSince: string | undefined;

  /** @param journaled - how many entries the stored journal has */
  constructor(journaled = 0) {
    this.#journaled = journaled;
  }

  open({ nextBatch, resume }: EventBatch): OpenBatch {
    const open: OpenBatch = { nextBatch, resume, marks: [], complete: false };
    this.#open.push(open);
    return open;
  }

  /** The next event of a room. `moves` is false where the room's position must not stand there: it is journaled. */
  expect(roomId: string, eventId: string, { moves = true, journaled = false } = {}): Step {
    const position = moves ? { eventId } : undefined;
    return this.#push({ roomId, eventId, position, ends: moves, handled: false, journaled });
  }

  /** What the room stands at when the batch is done; undefined leaves it where it is. */
  mark(open: OpenBatch, roomId: string, position: DeliveredPosition | null | undefined): void {
    const mark = { roomId, eventId: undefined, position, ends: true, handled: false, journaled: false };
    open.marks.push(this.#push(mark));
  }

  handled(step: Step): void {
    if (step.handled) return;
    this.#rooms.get(step.roomId)?.handled(step);
    this.#changed.add(step.roomId);
  }

  /** What to store now; undefined when there is nothing worth a write. */
  take(): CheckpointChange | undefined {
    const done = this.#takeDone();
    const lastDelivered = new Map<string, DeliveredPosition | null>();
    const add: JournalEntry[] = [];
    const prune: JournalEntry[] = [];
    for (const roomId of this.#changed) {
      const room = this.#rooms.get(roomId);
      const change = room?.take();
      if (change?.position !== undefined) lastDelivered.set(roomId, change.position);
      for (const eventId of change?.add ?? []) add.push({ roomId, eventId });
      for (const eventId of change?.prune ?? []) prune.push({ roomId, eventId });
      if (room?.isEmpty) this.#rooms.delete(roomId);
    }
    this.#changed.clear();
    const { rooms, accountData } = done?.resume ?? {};
    if (lastDelivered.size + add.length + prune.length === 0 && !done?.resume) return undefined;
    this.#journaled += add.length - prune.length;
    const all = this.#open.length === 0 && this.#journaled > 0; // left by those before us
    if (all) this.#journaled = 0;
    return {
      ...this.takeRest(),
      ...(rooms && rooms.size > 0 && { rooms }),
      ...(accountData !== undefined && { accountData }),
      ...(lastDelivered.size > 0 && { lastDelivered }),
      ...((all || prune.length + add.length > 0) && { journal: { prune: all ? 'all' : prune, add } }),
    };
  }

  /** The position that {@link take} did not find worth storing by itself. */
  takeRest(): CheckpointChange | undefined {
    const since = this.#idleSince;
    this.#idleSince = undefined;
    return since === undefined ? undefined : { since };
  }

  #push(step: Step): Step {
    const room = this.#rooms.get(step.roomId) ?? new RoomProgress();
    this.#rooms.set(step.roomId, room);
    room.push(step);
    return step;
  }

  /** The batches that are handled from the oldest on, as one. */
  #takeDone(): OpenBatch | undefined {
    // Those that wait behind a slow one become one as well, or they would pile up.
    for (let i = this.#open.length - 1; i > 0; i--) {
      const [earlier, later] = this.#open.slice(i - 1, i + 1) as [OpenBatch, OpenBatch];
      if (earlier.complete && later.complete) this.#open.splice(i - 1, 2, merged(earlier, later));
    }
    if (!this.#open[0]?.complete) return undefined;
    const done = this.#open.shift();
    for (const mark of done?.marks ?? []) this.handled(mark);
    this.#idleSince = done?.nextBatch;
    return done;
  }
}

function merged(earlier: OpenBatch, later: OpenBatch): OpenBatch {
  return {
    nextBatch: later.nextBatch,
    resume: mergedResume(earlier.resume, later.resume),
    marks: [...earlier.marks, ...later.marks],
    complete: true,
  };
}

function mergedResume(earlier: ResumeData | undefined, later: ResumeData | undefined): ResumeData | undefined {
  if (!earlier || !later) return later ?? earlier;
  return { ...earlier, ...later, rooms: new Map([...earlier.rooms, ...later.rooms]) };
}
