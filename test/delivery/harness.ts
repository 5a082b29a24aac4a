import type { ClientEvent } from '../../src/core/client-event.js';
import { systemClock } from '../../src/core/clock.js';
import { Diagnostics } from '../../src/core/diagnostics.js';
import type { EventBatch, RoomBatch } from '../../src/core/ports/event-source.js';
import type { HistoryRequest } from '../../src/core/ports/history-reader.js';
import { silentLogger } from '../../src/core/logger.js';
import type { RawEvent } from '../../src/core/raw-event.js';
import type { Gap, GapFillerContext } from '../../src/delivery/gap-filler.js';
import { Delivery } from '../../src/delivery/delivery.js';
import type { DeliveryOptions } from '../../src/delivery/delivery.js';
import { memoryStorage } from '../../src/storage/memory-storage.js';
import type { Storage } from '../../src/storage/storage.js';

export const userId = '@bob:x';
export const roomId = '!room:x';

/** An event as a sync brings it, named by its id. */
export function event(name: string, change: Partial<RawEvent> = {}): RawEvent {
  return {
    event_id: `$${name}`,
    type: 'm.room.message',
    sender: '@alice:x',
    origin_server_ts: 1,
    content: { body: name },
    ...change,
  };
}

export const join = (name: string): RawEvent =>
  event(name, { type: 'm.room.member', state_key: userId, content: { membership: 'join' } });

/** What a sync brings of {@link roomId}, or of another room. */
export function room(names: readonly (string | RawEvent)[], change: Partial<RoomBatch> = {}): RoomBatch {
  const timeline = names.map((name) => (typeof name === 'string' ? event(name) : name));
  const shape = {
    roomId,
    membership: 'join',
    provenance: 'live',
    timeline,
    limited: false,
    prevBatch: 'prev',
  } as const;
  return { ...shape, ephemeral: [], ...change };
}

/** What a source brings after a position, or without one. */
export function batch(since: string | undefined, position: string, ...rooms: RoomBatch[]): EventBatch {
  if (since !== undefined)
    return { position, scope: 'changes', rooms: rooms.map((each) => ({ gapStart: since, ...each })), invites: [] };
  return {
    position,
    scope: 'all-rooms',
    rooms: rooms.map((each) => ({ ...each, provenance: 'backlog' })),
    invites: [],
  };
}

/** A batch of what was missed before the source ran. */
export function missed({ rooms, invites, ...rest }: EventBatch): EventBatch {
  const asMissed = <T>(each: T) => ({ ...each, provenance: 'gap-fill' as const });
  return { ...rest, rooms: rooms.map(asMissed), invites: invites.map(asMissed) };
}

/** A batch of rooms that the first one left out, as they are at `position`. */
export function late(position: string, ...rooms: RoomBatch[]): EventBatch {
  return { ...batch(undefined, position, ...rooms), scope: 'late-rooms' };
}

export const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** A user whose process can be killed: what is stored stays, what runs is forgotten. */
export class Life {
  readonly delivery: Delivery;
  /** What was handed out, as `provenance body`, in order. */
  readonly dispatched: string[] = [];
  readonly gaps: Gap[] = [];
  readonly requests: HistoryRequest[] = [];
  /** Bodies whose handling does not end until it is told to. */
  readonly held: Map<string, PromiseWithResolvers<boolean>>;

  private constructor(delivery: (life: Life) => Delivery, hold: readonly string[]) {
    this.held = new Map(hold.map((body) => [body, Promise.withResolvers<boolean>()]));
    this.delivery = delivery(this);
  }

  /** @param history - the events of the room, oldest first, that `/messages` tells from any token */
  static async begin(
    storage: Storage,
    options: { hold?: readonly string[]; history?: readonly (string | RawEvent)[] } & Partial<
      DeliveryOptions & GapFillerContext
    > = {},
  ): Promise<Life> {
    const { hold = [], history = [], clock = systemClock, logger = silentLogger, ...rest } = options;
    const { answersOtherRequests = () => true, diagnostics = new Diagnostics(clock) } = rest;
    const context = { clock, logger, diagnostics, answersOtherRequests };
    const stored = await storage.loadCheckpoint(userId);
    const events = history.map((name) => (typeof name === 'string' ? event(name) : name)).toReversed();
    return new Life((life) => {
      return new Delivery(context, {
        userId,
        stored,
        commit: (change) => storage.commit(userId, change),
        hasCallbacks: () => true,
        dispatch: async (event: ClientEvent) => {
          if (!('content' in event)) return true;
          const body = String(event.content.body ?? event.content.membership);
          life.dispatched.push(`${event.provenance} ${body}`);
          return (await life.held.get(body)?.promise) ?? true;
        },
        readHistory: async (request) => {
          life.requests.push(request);
          const start = request.from === 'prev' ? 0 : Number(request.from);
          const page = events.slice(start, start + request.limit);
          const end = start + page.length;
          return { events: page, end: end < events.length ? String(end) : undefined };
        },
        gapFillLimit: 1_000,
        gapFillTimeoutMs: Infinity,
        onGap: (gap) => life.gaps.push(gap),
        ...rest,
      });
    }, hold);
  }

  /** Takes the batches and lets what they started settle. */
  async take(...batches: EventBatch[]): Promise<void> {
    for (const batch of batches) await this.delivery.accept(batch);
    await turn();
    await turn();
  }
}

export { memoryStorage };
