import { objectOrEmpty, stringsOf } from '../json.js';
import { firstAfter } from '../world/stream.js';
import type { Receipts } from './receipts.js';
import type { RoomEvent } from './room-event.js';
import { relationOf } from './room-event.js';

/** The thread id of events that are in no thread. */
export const MAIN_TIMELINE = 'main';

export interface Unread {
  readonly notification_count: number;
  readonly highlight_count: number;
}

/** Whether an event highlights for a user, such as a mention. */
export type IsHighlight = (event: RoomEvent) => boolean;

/**
 * Counts the unread notifications of a room by thread. Only events since the user's last count are read, so the cost
 * does not grow with the length of the room.
 */
export class UnreadCounts {
  readonly #threads = new Map<string, NotifyingEvents>();

  add(event: RoomEvent): void {
    if (!isNotifying(event)) return;
    const threadId = threadOf(event);
    const thread = this.#threads.get(threadId) ?? new NotifyingEvents();
    this.#threads.set(threadId, thread);
    thread.add(event);
  }

  /** As in Synapse, a redacted event no longer counts. Call it before its content is removed. */
  remove(event: RoomEvent): void {
    this.#threads.get(threadOf(event))?.remove(event);
  }

  /** Unread events of other users after `position`, by thread. Threads without unread events are left out. */
  byThread(position: number, userId: string, receipts: Receipts, isHighlight: IsHighlight): Map<string, Unread> {
    const unread = new Map<string, Unread>();
    const start = Math.max(position, receipts.readUpTo(userId));
    for (const [threadId, thread] of this.#threads) {
      if (thread.lastStream <= start) continue;
      const counts = thread.after(Math.max(start, receipts.readUpTo(userId, threadId)), userId, isHighlight);
      if (counts.notification_count > 0) unread.set(threadId, counts);
    }
    return unread;
  }
}

class NotifyingEvents {
  readonly #all: RoomEvent[] = [];
  readonly #bySender = new Map<string, RoomEvent[]>();
  readonly #highlights = new Map<string, { seen: number; events: RoomEvent[] }>();

  get lastStream(): number {
    return this.#all.at(-1)?.stream ?? 0;
  }

  add(event: RoomEvent): void {
    this.#all.push(event);
    const own = this.#bySender.get(event.sender);
    if (own) own.push(event);
    else this.#bySender.set(event.sender, [event]);
  }

  remove(event: RoomEvent): void {
    const index = this.#all.indexOf(event);
    if (index < 0) return;
    this.#all.splice(index, 1);
    removeFrom(this.#bySender.get(event.sender) ?? [], event);
    for (const highlights of this.#highlights.values()) {
      if (index < highlights.seen) highlights.seen--;
      removeFrom(highlights.events, event);
    }
  }

  after(position: number, userId: string, isHighlight: IsHighlight): Unread {
    const highlights = this.#highlights.get(userId) ?? { seen: 0, events: [] };
    this.#highlights.set(userId, highlights);
    for (; highlights.seen < this.#all.length; highlights.seen++) {
      const event = this.#all[highlights.seen];
      if (event && event.sender !== userId && isHighlight(event)) highlights.events.push(event);
    }
    return {
      notification_count: countAfter(this.#all, position) - countAfter(this.#bySender.get(userId) ?? [], position),
      highlight_count: countAfter(highlights.events, position),
    };
  }
}

function removeFrom(events: RoomEvent[], event: RoomEvent): void {
  const index = events.indexOf(event);
  if (index >= 0) events.splice(index, 1);
}

function threadOf({ content }: RoomEvent): string {
  const relation = relationOf(content);
  return relation?.relType === 'm.thread' ? relation.eventId : MAIN_TIMELINE;
}

/** Whether the default push rules notify for the event. */
function isNotifying({ type, content, stateKey }: RoomEvent): boolean {
  if (stateKey !== undefined || relationOf(content)?.relType === 'm.replace') return false;
  return (type === 'm.room.message' && content['msgtype'] !== 'm.notice') || type === 'm.room.encrypted';
}

/** The default push rules that highlight. @param names - the user's localpart and display name */
export function highlightsFor(
  userId: string,
  names: readonly string[],
  mayNotifyRoom: (sender: string) => boolean,
): IsHighlight {
  const words = names.map((name) => new RegExp(String.raw`(^|\W)${escapeRegExp(name)}(\W|$)`, 'i'));
  return ({ content, sender }) => {
    const mentions = content['m.mentions'];
    const body = typeof content['body'] === 'string' ? content['body'] : '';
    if (mentions === undefined) {
      return words.some((word) => word.test(body)) || (/(^|\W)@room(\W|$)/.test(body) && mayNotifyRoom(sender));
    }
    const { user_ids: userIds, room } = objectOrEmpty(mentions);
    return stringsOf(userIds)?.includes(userId) === true || (room === true && mayNotifyRoom(sender));
  };
}

function escapeRegExp(text: string): string {
  return text.replaceAll(/[.*+?^${}()|[\]\\]/g, String.raw`\$&`);
}

function countAfter(events: readonly RoomEvent[], position: number): number {
  return events.length - firstAfter(events, position);
}
