import type { EventBatch } from '../core/event-source.js';
import type { CheckpointChange, DeliveredPosition, JournalEntry } from '../storage/checkpoint.js';

/** A batch whose events are being handled. */
export interface OpenBatch {
  readonly batch: EventBatch;
  /** Events of it that have been handled and written to the journal. */
  readonly journaled: JournalEntry[];
  /** Where its rooms stand after it. */
  readonly positions: Map<string, DeliveredPosition | null>;
  complete: boolean;
}

/** Keeps batches in the order they came and says how far the position may move: over handled ones, without a hole. */
export class BatchLedger {
  readonly #open: OpenBatch[] = [];
  readonly #handled: { readonly open: OpenBatch; readonly entry: JournalEntry }[] = [];
  /** A position that nothing but time has moved to; it is stored with the next change, or at the end. */
  #idleSince: string | undefined;

  open(batch: EventBatch): OpenBatch {
    const entry: OpenBatch = { batch, journaled: [], positions: new Map(), complete: false };
    this.#open.push(entry);
    return entry;
  }

  /** An event of the batch was handled. */
  handled(open: OpenBatch, entry: JournalEntry): void {
    this.#handled.push({ open, entry });
  }

  /**
   * What to store now: the batches that are complete from the oldest on, and the events handled in batches that are
   * not, so that a crash does not repeat them. Undefined when there is nothing worth a write.
   */
  take(): CheckpointChange | undefined {
    const done: OpenBatch[] = [];
    while (this.#open[0]?.complete) done.push(this.#open.shift() as OpenBatch);
    const covered = new Set(done);
    const add: JournalEntry[] = [];
    for (const { open, entry } of this.#handled) {
      if (covered.has(open)) continue;
      open.journaled.push(entry);
      add.push(entry);
    }
    this.#handled.length = 0;
    const last = done.at(-1);
    if (last) this.#idleSince = last.batch.nextBatch;
    const worthIt = done.some(({ batch, positions, journaled }) => {
      return positions.size > 0 || journaled.length > 0 || batch.resume !== undefined;
    });
    if (!worthIt) return add.length > 0 ? { journal: { add } } : undefined;
    return this.#change(done, add);
  }

  /** The position that {@link take} did not find worth storing by itself. */
  takeRest(): CheckpointChange | undefined {
    return this.#idleSince === undefined ? undefined : { since: this.#takeIdle() };
  }

  #takeIdle(): string {
    const since = this.#idleSince as string;
    this.#idleSince = undefined;
    return since;
  }

  #change(done: readonly OpenBatch[], add: JournalEntry[]): CheckpointChange {
    const rooms = new Map(done.flatMap(({ batch }) => [...(batch.resume?.rooms ?? [])]));
    const lastDelivered = new Map(done.flatMap(({ positions }) => [...positions]));
    const accountData = done.findLast(({ batch }) => batch.resume?.accountData !== undefined)?.batch.resume
      ?.accountData;
    const prune = this.#open.length === 0 ? 'all' : done.flatMap(({ journaled }) => journaled);
    return {
      since: this.#takeIdle(),
      ...(rooms.size > 0 && { rooms }),
      ...(lastDelivered.size > 0 && { lastDelivered }),
      ...(accountData !== undefined && { accountData }),
      ...((prune.length > 0 || add.length > 0) && { journal: { prune, add } }),
    };
  }
}
