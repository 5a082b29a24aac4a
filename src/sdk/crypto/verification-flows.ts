import { KeyedQueue } from '../../core/keyed-queue.js';
import { isObject } from '../../core/raw-event.js';
import { RecentIds } from '../../core/recent-ids.js';
import { RecentMap } from '../../core/recent-map.js';
import type { RoomVerificationEvent } from './verification-messages.js';

/** Remembered ids of events, and verifications that one of the user's devices has answered. */
const REMEMBERED = 1_000;
/** Events of one verification that wait, at most. A verification has about ten. */
const MAX_WAITING_OF_FLOW = 50;
/** Events of one sender that wait, at most: a sender can begin any number of verifications. */
const MAX_WAITING_OF_SENDER = 200;

type AnsweringDevice = 'this-device' | 'other-device';

/**
 * The verifications in rooms. The events of one are handled in order, since the first may wait for keys; those of others
 * do not wait for them.
 */
export class VerificationFlows {
  readonly #userId: string;
  readonly #deviceId: string | null;
  readonly #queue = new KeyedQueue();
  readonly #waiting = new Map<string, number>();
  readonly #seen = new RecentIds(REMEMBERED);
  readonly #answers = new RecentMap<AnsweringDevice>(REMEMBERED);

  /** @param deviceId - the device of the client */
  constructor(userId: string, deviceId: string | null) {
    this.#userId = userId;
    this.#deviceId = deviceId;
  }

  /** Whether the event is new, and belongs to a verification. */
  isNew({ eventId, ...event }: RoomVerificationEvent): boolean {
    if (this.#seen.has(eventId) || flowIdOf({ eventId, ...event }) === undefined) return false;
    this.#seen.add(eventId);
    return true;
  }

  /** Runs `handle` after the earlier events of the verification. Drops the event if too many of them wait. */
  async run(roomId: string, event: RoomVerificationEvent, handle: () => Promise<void>): Promise<void> {
    const flow = keyOf(roomId, flowIdOf(event));
    const sender = keyOf(event.sender);
    const isFull = (key: string, limit: number): boolean => (this.#waiting.get(key) ?? 0) >= limit;
    if (isFull(flow, MAX_WAITING_OF_FLOW) || isFull(sender, MAX_WAITING_OF_SENDER)) return;
    for (const key of [flow, sender]) this.#waiting.set(key, (this.#waiting.get(key) ?? 0) + 1);
    try {
      await this.#queue.run(flow, handle);
    } finally {
      for (const key of [flow, sender]) {
        const rest = (this.#waiting.get(key) ?? 0) - 1;
        if (rest > 0) this.#waiting.set(key, rest);
        else this.#waiting.delete(key);
      }
    }
  }

  /**
   * Notes an answer of the user in a room. The first answer in the order of the room is the one that the other side goes on
   * with. A cancellation ends the verification at any time; this device has ended its own side before it sends one.
   * @returns the id of the verification if another device of the user has taken or ended it by this event
   */
  noteOwnAnswer(roomId: string, event: RoomVerificationEvent): string | undefined {
    const { type, sender, content, isEcho } = event;
    const flowId = flowIdOf(event);
    if (sender !== this.#userId || flowId === undefined) return undefined;
    const { from_device: device } = content;
    const isCancel = type === 'm.key.verification.cancel';
    const isAnswer = type === 'm.key.verification.ready' || type === 'm.key.verification.start';
    if (!isCancel && !(isAnswer && typeof device === 'string')) return undefined;
    const key = keyOf(roomId, flowId);
    const isOurs = isEcho || device === this.#deviceId;
    if (isOurs ? this.#answers.has(key) : this.#answers.has(key) && !isCancel) return undefined;
    this.#answers.set(key, isOurs ? 'this-device' : 'other-device');
    return isOurs ? undefined : flowId;
  }

  /** Whether another device of the user has answered the verification. */
  isAnsweredElsewhere(roomId: string | undefined, flowId: string): boolean {
    return roomId !== undefined && this.#answers.get(keyOf(roomId, flowId)) === 'other-device';
  }
}

/** The id of the verification to which the event belongs: that of its request. */
function flowIdOf({ eventId, type, content }: RoomVerificationEvent): string | undefined {
  if (type === 'm.room.message') return eventId;
  const { 'm.relates_to': relation } = content;
  const flowId = isObject(relation) ? relation.event_id : undefined;
  return typeof flowId === 'string' ? flowId : undefined;
}

function keyOf(...parts: readonly unknown[]): string {
  return JSON.stringify(parts);
}
