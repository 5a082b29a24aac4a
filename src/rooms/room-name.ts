import { readMemberProfile } from '../core/member-profile.js';
import type { KnownRoom } from '../core/ports/known-room.js';

const EMPTY = 'Empty room';

/**
 * The display name of a room: its name, its canonical alias, or the names of its members.
 * @see https://spec.matrix.org/v1.16/client-server-api/#calculating-the-display-name-for-a-room
 */
export function roomName(room: Pick<KnownRoom, 'state' | 'heroes' | 'joinedCount' | 'invitedCount'>): string {
  const given = text(room.state('m.room.name')?.name) ?? text(room.state('m.room.canonical_alias')?.alias);
  if (given !== undefined) return given;
  const names = heroNames(room);
  const others = room.joinedCount + room.invitedCount - 1;
  if (others <= 0) return names.length === 0 ? EMPTY : `${EMPTY} (was ${listed(names)})`;
  if (names.length === 0) return others === 1 ? '1 other' : `${others} others`;
  const unnamed = others - names.length;
  if (unnamed <= 0) return listed(names);
  return `${names.join(', ')} and ${unnamed === 1 ? '1 other' : `${unnamed} others`}`;
}

/** The names of the heroes. Those who share a name are told apart by their ids. */
function heroNames({ heroes, state }: Pick<KnownRoom, 'state' | 'heroes'>): string[] {
  const named = heroes.map((userId) => {
    const { displayName } = readMemberProfile(state('m.room.member', userId) ?? {});
    return { userId, name: displayName ?? userId };
  });
  const uses = new Map<string, number>();
  for (const { name } of named) uses.set(name, (uses.get(name) ?? 0) + 1);
  return named.map(({ userId, name }) => ((uses.get(name) ?? 0) > 1 && name !== userId ? `${name} (${userId})` : name));
}

function listed(names: readonly string[]): string {
  return names.length < 2 ? names.join('') : `${names.slice(0, -1).join(', ')} and ${names.at(-1)}`;
}

function text(value: unknown): string | undefined {
  return typeof value === 'string' && value.trim() !== '' ? value : undefined;
}
