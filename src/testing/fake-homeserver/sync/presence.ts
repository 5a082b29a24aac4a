import type { JsonObject } from '../json.js';
import type { User } from '../world/user.js';
import type { World } from '../world/world.js';
import type { SyncContext } from './sync-context.js';

/** The presence events of a sync: of all users that the user sees who were ever present, or of those who have changed. */
export function presenceEvents({ world, user, since, fullState, filter }: SyncContext): JsonObject[] {
  const after = since === undefined || fullState ? 0 : since;
  return [...world.users.values()]
    .filter(({ presence }) => presence !== undefined && presence.stream > after)
    .filter((other) => usersWhoSee(world, other).has(user.userId))
    .map((other) => ({ type: 'm.presence', sender: other.userId, content: presenceContent(world, other) }))
    .filter((event) => filter.presence.accepts(event));
}

/** The users who share a room with the user, and the user. */
export function usersWhoSee({ rooms }: World, { userId }: User): Set<string> {
  const shared = [...rooms.values()].filter(({ joined }) => joined.has(userId));
  return new Set([userId, ...shared.flatMap(({ joined }) => [...joined.keys()])]);
}

export function presenceContent({ clock }: World, user: User): JsonObject {
  const { presence = 'offline', statusMessage, setAt } = user.presence ?? {};
  return {
    presence,
    ...(setAt !== undefined && { last_active_ago: clock.now() - setAt, currently_active: presence === 'online' }),
    ...(statusMessage !== undefined && { status_msg: statusMessage }),
  };
}
