import type { EventBatch, EventReceiver, EventSource } from '../core/ports/event-source.js';
import type { RawEvent } from '../core/raw-event.js';

/** The messages of one room, in memory, for tests without a homeserver. Sources read them from any position. */
export class MemoryEventLog {
  readonly roomId = '!room:example.org';
  readonly #events: RawEvent[] = [];
  readonly #sources = new Set<MemoryEventSource>();

  say(text: string): void {
    this.#events.push({
      event_id: `$${this.#events.length}`,
      type: 'm.room.message',
      sender: '@bob:example.org',
      origin_server_ts: 0,
      content: { msgtype: 'm.text', body: text },
    });
    for (const source of this.#sources) source.poke();
  }

  /** @param position - where to resume; undefined: from the start */
  open(position?: string): MemoryEventSource {
    const source: MemoryEventSource = new MemoryEventSource({
      position,
      read: (from) => this.#events.slice(from),
      roomId: this.roomId,
      onStopped: () => this.#sources.delete(source),
    });
    this.#sources.add(source);
    return source;
  }
}

interface MemoryEventSourceOptions {
  readonly position: string | undefined;
  readonly read: (from: number) => RawEvent[];
  readonly roomId: string;
  readonly onStopped: () => void;
}

/** A source of one user's events in memory. Made by {@link MemoryEventLog.open}. */
export class MemoryEventSource implements EventSource {
  readonly #options: MemoryEventSourceOptions;
  #receiver: EventReceiver | undefined;
  #read: number;
  #kind: Pick<EventBatch, 'scope'> & Pick<EventBatch['rooms'][number], 'provenance'>;
  #isRunning = false;
  #passing: Promise<void> = Promise.resolve();

  constructor(options: MemoryEventSourceOptions) {
    this.#options = options;
    const { position } = options;
    this.#read = Number(position ?? 0);
    this.#kind =
      position === undefined
        ? { scope: 'all-rooms', provenance: 'backlog' }
        : { scope: 'changes', provenance: 'gap-fill' };
  }

  connect(receiver: EventReceiver): void {
    this.#receiver = receiver;
  }

  fetchMissedEvents(backlog: boolean): void {
    this.#passing = this.#passing.then(async () => {
      const { since } = (await this.#receiver?.restart()) ?? {};
      const from = backlog ? undefined : since;
      const batch = this.#batch(Number(from ?? 0), from === undefined ? 'all-rooms' : 'changes', 'gap-fill');
      await this.#receiver?.acceptMissed(batch);
    });
  }

  /** Resolves when everything that happened so far was passed on. */
  start(): Promise<void> {
    this.#isRunning = true;
    this.poke();
    return this.#passing;
  }

  /** Resolves when the sink has taken the current batch. */
  stop(): Promise<void> {
    this.#isRunning = false;
    this.#options.onStopped();
    return this.#passing;
  }

  /** Passes on what was not read yet, after the batches before. */
  poke(): void {
    this.#passing = this.#passing.then(() => this.#passNext());
  }

  async #passNext(): Promise<void> {
    const { scope, provenance } = this.#kind;
    const batch = this.#batch(this.#read, scope, provenance);
    const isEmpty = batch.position === `${this.#read}`;
    if (!this.#isRunning || (isEmpty && scope === 'changes')) return;
    this.#read = Number(batch.position);
    this.#kind = { scope: 'changes', provenance: 'live' };
    await this.#receiver?.accept(batch);
  }

  #batch(from: number, scope: EventBatch['scope'], provenance: EventBatch['rooms'][number]['provenance']): EventBatch {
    const { read, roomId } = this.#options;
    const timeline = read(from);
    const room = { roomId, membership: 'join', limited: false, prevBatch: undefined, ephemeral: [] } as const;
    return { position: `${from + timeline.length}`, scope, rooms: [{ ...room, provenance, timeline }], invites: [] };
  }
}
