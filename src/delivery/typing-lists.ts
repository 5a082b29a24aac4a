import type { TypingEvent } from '../core/client-event.js';
import { RecentMap } from '../core/recent-map.js';

/** Of how many rooms the last list is known. One that was forgotten is told once more. */
const MAX_ROOMS = 1_000;

/** Who else is typing, room by room: a user is not told that they are typing themselves. */
export class TypingLists {
  readonly #userId: string;
  readonly #last = new RecentMap<string>(MAX_ROOMS);

  constructor(userId: string) {
    this.#userId = userId;
  }

  /** The event without the user's own id; undefined where nothing else has changed since the last one of the room. */
  withoutOwn(event: TypingEvent): TypingEvent | undefined {
    const { roomId } = event;
    const userIds = event.userIds.filter((id) => id !== this.#userId);
    // What comes with a room's history is not what callbacks were told last: most do not get it.
    if (event.provenance === 'backlog') return { ...event, userIds };
    const isOwn = userIds.length < event.userIds.length;
    const list = JSON.stringify(userIds.toSorted());
    // The first list of a room is told even where it is empty: somebody may have been typing when the client stopped.
    const last = this.#last.get(roomId) ?? (isOwn ? '[]' : undefined);
    this.#last.set(roomId, list);
    return list === last ? undefined : { ...event, userIds };
  }
}
