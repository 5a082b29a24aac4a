import { firstAfter } from '../world/stream.js';
import { objectOrEmpty, stringsOf } from '../json.js';
import type { RoomEvent } from './room-event.js';
import { relationOf } from './room-event.js';

type Position = { readonly stream: number };

/** What a room has to notify its members of, kept so that counting costs the same in long rooms and short ones. */
export class UnreadCounts {
  readonly #notifying: Position[] = [];
  readonly #notifyingBySender = new Map<string, Position[]>();
  readonly #mentions = new Map<string, Position[]>();

  add(event: RoomEvent): void {
    if (!notifies(event)) return;
    this.#notifying.push(event);
    pushTo(this.#notifyingBySender, event.sender, event);
    for (const userId of stringsOf(objectOrEmpty(event.content['m.mentions'])['user_ids']) ?? []) {
      if (userId !== event.sender) pushTo(this.#mentions, userId, event);
    }
  }

  /** What `userId` has not read of what others sent after `position`. */
  after(position: number, userId: string): { notification_count: number; highlight_count: number } {
    const own = this.#notifyingBySender.get(userId) ?? [];
    const from = Math.max(position, own.at(-1)?.stream ?? 0);
    return {
      notification_count: countAfter(this.#notifying, from),
      highlight_count: countAfter(this.#mentions.get(userId) ?? [], from),
    };
  }
}

/** Whether the default push rules notify of an event like this. */
function notifies({ type, content, stateKey }: RoomEvent): boolean {
  if (stateKey !== undefined || relationOf(content)?.relType === 'm.replace') return false;
  return (type === 'm.room.message' && content['msgtype'] !== 'm.notice') || type === 'm.room.encrypted';
}

function pushTo(lists: Map<string, Position[]>, key: string, item: Position): void {
  const list = lists.get(key);
  if (list) list.push(item);
  else lists.set(key, [item]);
}

function countAfter(items: readonly Position[], position: number): number {
  return items.length - firstAfter(items, position);
}
