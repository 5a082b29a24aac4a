import type { TypingEvent } from '../core/client-event.js';
import { RecentMap } from '../core/recent-map.js';

/** For how many rooms the last list is kept. Without it, an unchanged list is delivered once more. */
const MAX_ROOMS = 1_000;

/** Removes the user's own id from the typing notifications of each room, and drops notifications without a change. */
export class TypingLists {
  readonly #userId: string;
  readonly #lastLists = new RecentMap<string>(MAX_ROOMS);

  constructor(userId: string) {
    this.#userId = userId;
  }

  /** Records the room's list. Returns the event without the user's own id; undefined if the list has not changed. */
  takeChange(event: TypingEvent): TypingEvent | undefined {
    const { roomId } = event;
    const userIds = event.userIds.filter((id) => id !== this.#userId);
    // Backlog lists are not kept as the room's last list, because most callbacks do not get them.
    if (event.provenance === 'backlog') return { ...event, userIds };
    const includesOwnUser = userIds.length < event.userIds.length;
    const list = JSON.stringify(userIds.toSorted());
    // A room's first list is delivered even if it is empty: another user may have been typing when the client stopped.
    const last = this.#lastLists.get(roomId) ?? (includesOwnUser ? '[]' : undefined);
    this.#lastLists.set(roomId, list);
    return list === last ? undefined : { ...event, userIds };
  }
}
