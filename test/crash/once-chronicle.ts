import type { WorkerLine } from './worker-protocol.js';

type Line<K extends WorkerLine['kind']> = Extract<WorkerLine, { kind: K }>;

interface OnceEvent {
  readonly roomId: string;
  state: 'running' | 'failed' | 'ended';
  /** The life of the worker that this state belongs to. */
  life: number;
}

/** Checks the rules of `once`: each event once for all users, and after a kill at most one repetition per room. */
export class OnceChronicle {
  readonly #events = new Map<string, OnceEvent>();
  readonly #repetitions = new Map<string, number>();
  readonly #violation: (what: string) => void;

  constructor(violation: (what: string) => void) {
    this.#violation = violation;
  }

  /** How many events were repeated although they had been handled: killed before that was stored. */
  get repeated(): number {
    return [...this.#repetitions.values()].reduce((sum, count) => sum + count, 0);
  }

  get handled(): number {
    return [...this.#events.values()].filter(({ state }) => state === 'ended').length;
  }

  begin({ roomId, eventId, userId }: Line<'onceBegin'>, life: number): void {
    const name = `${eventId} for ${userId}`;
    for (const [id, event] of this.#events) {
      const runs = event.roomId === roomId && event.state === 'running' && event.life === life;
      if (runs) this.#violation(`once: ${name} began while ${id} was running`);
    }
    const known = this.#events.get(eventId);
    if (known?.state === 'ended') {
      if (known.life === life) this.#violation(`once: twice in one life: ${name}`);
      const repetitions = (this.#repetitions.get(roomId) ?? 0) + 1;
      this.#repetitions.set(roomId, repetitions);
      if (repetitions > life) this.#violation(`once: repeated ${repetitions} times in ${life} kills: ${name}`);
    }
    this.#events.set(eventId, { roomId, state: 'running', life });
  }

  settle({ kind, eventId }: Line<'onceEnd' | 'onceFail'>): void {
    const event = this.#events.get(eventId);
    if (event) event.state = kind === 'onceEnd' ? 'ended' : 'failed';
  }

  hasEnded(eventId: string): boolean {
    return this.#events.get(eventId)?.state === 'ended';
  }
}
