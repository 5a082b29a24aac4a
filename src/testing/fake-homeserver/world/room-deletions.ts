import { randomBytes } from 'node:crypto';
import type { Clock, TimerHandle } from '../../../core/clock.js';

/** A deletion of a room in the background. */
export interface RoomDeletion {
  readonly deleteId: string;
  readonly roomId: string;
  status: 'scheduled' | 'active' | 'complete' | 'failed';
  readonly kickedUsers: string[];
  readonly localAliases: string[];
}

/** How long a deletion waits, in milliseconds. */
const DELAY_MS = 100;

/** The deletions of rooms, which go on in the background as in Synapse. */
export class RoomDeletions {
  readonly #all = new Map<string, RoomDeletion>();
  /** The deletions that have not run yet. */
  readonly #waiting = new Map<RoomDeletion, { readonly timer: TimerHandle; readonly run: () => void }>();

  get(deleteId: string): RoomDeletion | undefined {
    return this.#all.get(deleteId);
  }

  ofRoom(roomId: string): RoomDeletion[] {
    return [...this.#all.values()].filter((deletion) => deletion.roomId === roomId);
  }

  /** Runs `work` a little later. */
  schedule(clock: Clock, roomId: string, work: (deletion: RoomDeletion) => void): RoomDeletion {
    const deleteId = randomBytes(8).toString('hex');
    const deletion: RoomDeletion = { deleteId, roomId, status: 'scheduled', kickedUsers: [], localAliases: [] };
    this.#all.set(deleteId, deletion);
    const run = (): void => {
      this.#waiting.delete(deletion);
      work(deletion);
      deletion.status = 'complete';
    };
    this.#waiting.set(deletion, { timer: clock.setTimeout(run, DELAY_MS), run });
    return deletion;
  }

  /** Runs the work of a deletion at once, for clients that wait for it while the clock stands still. */
  runNow(clock: Clock, deletion: RoomDeletion): void {
    const waiting = this.#waiting.get(deletion);
    if (!waiting) return;
    clock.clearTimeout(waiting.timer);
    waiting.run();
  }

  stop(clock: Clock): void {
    for (const { timer } of this.#waiting.values()) clock.clearTimeout(timer);
    this.#waiting.clear();
  }
}
