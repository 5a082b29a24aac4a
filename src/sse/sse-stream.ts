import type { ClientEvent } from '../core/client-event.js';
import type { TimerHandle } from '../core/clock.js';
import { isManagerError } from '../core/errors.js';
import type { MatrixClientManagerError } from '../core/errors.js';
import type { Connection, ConnectionState } from '../users/connection.js';
import { CatchUp } from './catch-up.js';
import type { TimelineEvent } from './catch-up.js';
import { NO_POSITION, RoomPositions } from './room-positions.js';
import { formatFrame, HEARTBEAT } from './sse-frame.js';
import type { SseFrame } from './sse-frame.js';
import type { SseSettings } from './sse-options.js';
import type { SseSink } from './sse-sink.js';

/**
 * Why a stream has ended. `disconnected`: the browser has gone. `slow`: the browser did not read fast enough. `closed`: the
 * connection was closed, the client was stopped or logged out, the manager was shut down, or `signal` has fired.
 */
export type SseEndReason = 'disconnected' | 'slow' | 'closed';

/** What `pipeToSse()` resolves with. */
export interface SseEnd {
  readonly reason: SseEndReason;
}

/** The data of the event `reset`: events may be missing, so the browser has to read the rooms again. */
export interface SseReset {
  /** The rooms in which events may be missing. Absent: all rooms. */
  readonly rooms?: readonly string[];
  /** Whether the user has left a room meanwhile, so that the list of rooms has to be read again. */
  readonly left?: true;
}

/** How long a callback waits for a slow browser, and how long an ended response may take to be sent, in milliseconds. */
const DRAIN_TIMEOUT_MS = 5_000;

type Phase =
  /** What was missed is sent; live events are held back until then. */
  | { readonly name: 'catching-up'; readonly held: ClientEvent[]; heldBytes: number }
  | { readonly name: 'live' }
  | { readonly name: 'ended' };

/**
 * One stream to a browser. Live events and missed ones come in the order of each room, none twice. A slow browser fills a
 * bounded buffer, and is then disconnected: other callbacks of the user wait for it only a few seconds.
 */
export class SseStream {
  readonly #connection: Connection;
  readonly #sink: SseSink;
  readonly #settings: SseSettings;
  readonly #positions: RoomPositions;
  readonly #ended = Promise.withResolvers<SseEnd>();
  readonly #endedSignal = new AbortController();
  readonly #cleanUps: (() => void)[] = [];
  /** Missed events that were sent, and whether they could not be decrypted. They may arrive live as well. */
  readonly #replayed = new Map<string, { readonly isUndecrypted: boolean }>();
  /** Rooms with a position of an earlier stream in which no live event was sent yet. */
  readonly #resumedRooms = new Set<string>();
  /** Called when the browser has read enough, and at the end. */
  readonly #drainWaiters = new Set<() => void>();
  #phase: Phase = { name: 'catching-up', held: [], heldBytes: 0 };
  #heartbeat: TimerHandle;
  #writtenBytes = 0;
  /** How much the browser had read at the last heartbeat, if it had not read everything. */
  #stalledAt: number | undefined;

  constructor(connection: Connection, sink: SseSink, settings: SseSettings) {
    this.#connection = connection;
    this.#sink = sink;
    this.#settings = settings;
    this.#positions = new RoomPositions(settings.rooms?.length === 1);
  }

  /** Resolves when the stream has ended, and the connection is closed. */
  run(): Promise<SseEnd> {
    const { retryMs, types, rooms, signal } = this.#settings;
    this.#sink.onDrain(() => this.#onDrain());
    this.#sink.onClose(() => this.#end('disconnected'));
    if (this.#isEnded) return this.#ended.promise;
    const onAbort = (): void => this.#end('closed');
    signal?.addEventListener('abort', onAbort);
    this.#cleanUps.push(
      () => signal?.removeEventListener('abort', onAbort),
      this.#connection.on('stateChanged', ({ to, error }) => {
        if (isOver(to, error)) this.#end('closed');
      }),
    );
    if (signal?.aborted || isOver(this.#connection.state, this.#connection.error)) this.#end('closed');
    if (this.#isEnded) return this.#ended.promise;
    this.#writeText(`retry: ${retryMs}\n\n`);
    this.#scheduleHeartbeat();
    this.#cleanUps.push(this.#connection.addCallback((event) => this.#receive(event), { types, rooms }));
    void this.#catchUp();
    return this.#ended.promise;
  }

  get #isEnded(): boolean {
    return this.#phase.name === 'ended';
  }

  /** A callback. Waits for a slow browser, up to a limit. */
  #receive(event: ClientEvent): Promise<void> | undefined {
    const phase = this.#phase;
    if (phase.name === 'live') return this.#sendLive(event);
    if (phase.name === 'ended') return undefined;
    phase.held.push(event);
    phase.heldBytes += Buffer.byteLength(JSON.stringify(event));
    if (phase.heldBytes > this.#settings.maxBufferBytes) this.#end('slow');
    return undefined;
  }

  #sendLive(event: ClientEvent): Promise<void> | undefined {
    if (!isTimelineEvent(event)) this.#write({ event: event.type, data: event });
    else this.#sendLiveTimelineEvent(event);
    return this.#whenRead();
  }

  #sendLiveTimelineEvent(event: TimelineEvent): void {
    const { eventId, roomId, provenance } = event;
    const replayed = this.#replayed.get(eventId);
    if (replayed) {
      if (!replayed.isUndecrypted || isUndecrypted(event)) return;
      this.#replayed.set(eventId, { isUndecrypted: false });
      return this.#sendTimelineEvent(event, false); // its key has arrived
    }
    if (provenance === 'live') this.#resumedRooms.delete(roomId);
    // After a restart, the client gives out older events again. They must not move the position back.
    this.#sendTimelineEvent(event, !this.#resumedRooms.has(roomId));
  }

  #sendTimelineEvent(event: TimelineEvent, isNewPosition: boolean): void {
    if (isNewPosition) this.#positions.set(event.roomId, event.eventId);
    this.#write({ event: event.type, id: this.#positions.encode(), data: event });
  }

  async #catchUp(): Promise<void> {
    const { lastEventId } = this.#settings;
    const catchUp = new CatchUp(this.#connection, this.#settings, this.#positions, {
      signal: this.#endedSignal.signal,
      resumed: (roomId) => void this.#resumedRooms.add(roomId),
      send: async (event) => {
        this.#replayed.set(event.eventId, { isUndecrypted: isUndecrypted(event) });
        this.#sendTimelineEvent(event, true);
        await this.#whenRead();
      },
    });
    const isNew = lastEventId === undefined || lastEventId === null || lastEventId.length === 0;
    if (isNew) this.#goLive(); // the positions where the stream begins are not worth a delay
    const reset = isNew ? undefined : await catchUp.replay();
    await catchUp.readPositions(!isNew);
    const id = this.#positions.encode() ?? (isNew && catchUp.concernsTimelines ? NO_POSITION : undefined);
    if (reset) this.#write({ event: 'reset', id, data: reset satisfies SseReset });
    else if (id !== undefined) this.#write({ id });
    if (!isNew) this.#goLive();
  }

  #goLive(): void {
    if (this.#phase.name !== 'catching-up') return;
    const { held } = this.#phase;
    this.#phase = { name: 'live' };
    for (const event of held) void this.#sendLive(event);
  }

  #write(frame: SseFrame): void {
    if (!this.#isEnded) this.#writeText(formatFrame(frame));
  }

  #writeText(text: string): void {
    this.#sink.write(text);
    this.#writtenBytes += Buffer.byteLength(text);
    if (this.#sink.pendingBytes > this.#settings.maxBufferBytes) this.#end('slow');
  }

  get #isTooMuchPending(): boolean {
    return this.#sink.pendingBytes > this.#settings.maxBufferBytes / 2;
  }

  /** Undefined if little is pending. Otherwise resolves when the browser has read enough, or the stream has ended. */
  #whenRead(): Promise<void> | undefined {
    if (this.#isEnded || !this.#isTooMuchPending) return undefined;
    return new Promise((resolve) => {
      const { clock } = this.#settings;
      const timer = clock.setTimeout(() => this.#end('slow'), DRAIN_TIMEOUT_MS);
      const done = (): void => {
        clock.clearTimeout(timer);
        this.#drainWaiters.delete(done);
        resolve();
      };
      this.#drainWaiters.add(done);
    });
  }

  #onDrain(): void {
    if (this.#isTooMuchPending) return;
    for (const done of this.#drainWaiters) done();
  }

  #scheduleHeartbeat(): void {
    const { clock, heartbeatMs } = this.#settings;
    this.#heartbeat = clock.setTimeout(() => {
      const { pendingBytes } = this.#sink;
      const readBytes = this.#writtenBytes - pendingBytes;
      if (pendingBytes > 0 && readBytes === this.#stalledAt) return this.#end('slow');
      this.#stalledAt = pendingBytes > 0 ? readBytes : undefined;
      if (pendingBytes === 0) this.#writeText(HEARTBEAT);
      this.#scheduleHeartbeat();
    }, heartbeatMs);
  }

  #end(reason: SseEndReason): void {
    if (this.#isEnded) return;
    this.#phase = { name: 'ended' };
    const { clock } = this.#settings;
    clock.clearTimeout(this.#heartbeat);
    this.#endedSignal.abort();
    for (const cleanUp of this.#cleanUps.splice(0)) cleanUp();
    for (const done of this.#drainWaiters) done();
    if (reason === 'slow') this.#sink.destroy();
    if (reason === 'closed') {
      const timer = clock.setTimeout(() => this.#sink.destroy(), DRAIN_TIMEOUT_MS);
      this.#sink.onClose(() => clock.clearTimeout(timer));
      this.#sink.end();
    }
    void this.#connection.close().then(() => this.#ended.resolve({ reason }));
  }
}

function isTimelineEvent(event: ClientEvent): event is TimelineEvent & ClientEvent {
  return 'eventType' in event;
}

function isUndecrypted({ decryption }: TimelineEvent): boolean {
  return decryption?.state === 'failed';
}

/** Whether the connection gets no further events unless the application intervenes. */
function isOver(state: ConnectionState, error: MatrixClientManagerError | undefined): boolean {
  if (state === 'failed') return isManagerError(error, 'OWNED_ELSEWHERE', 'MANAGER_CLOSED');
  return state === 'closed' || state === 'stopped' || state === 'loggedOut';
}
