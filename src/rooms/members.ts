import * as v from 'valibot';
import { MatrixClientManagerError } from '../core/errors.js';
import { decodeCursorText, encodeCursorText } from '../core/opaque-cursor.js';
import { isObject } from '../core/raw-event.js';
import { nullAsAbsent, oneOf, roomId, unchecked, wholeNumber } from '../core/validation.js';
import { optionalText } from '../http/response-parts.js';
import { path } from '../http/path.js';
import type { Membership } from './memberships.js';
import { powerLevelOf, readCreation, readPowerLevels } from './power-levels.js';
import { callOf } from './room-calls.js';
import type { Actor, RoomCallOptions } from './room-calls.js';

export interface RoomMembersOptions extends RoomCallOptions {
  readonly roomId: string;
  /** Which members are listed. @default 'join' */
  readonly membership?: 'join' | 'invite' | 'knock' | 'leave' | 'ban' | undefined;
  /** How many members at most, 1 to 10,000. @default 1_000 */
  readonly limit?: number | undefined;
  /** The `next` of the previous page. @default the first page */
  readonly from?: string | undefined;
}

const DEFAULT_LIMIT = 1_000;
const MAX_LIMIT = 10_000;

export const membersSchema = callOf<RoomMembersOptions>({
  roomId,
  membership: nullAsAbsent(oneOf('join', 'invite', 'knock', 'leave', 'ban')),
  limit: nullAsAbsent(wholeNumber(1, MAX_LIMIT)),
  from: nullAsAbsent(unchecked<string>()),
});

export interface RoomMember {
  readonly userId: string;
  readonly membership: 'join' | 'invite' | 'knock' | 'leave' | 'ban';
  readonly displayName: string | undefined;
  /** An `mxc://` URI. */
  readonly avatarUrl: string | undefined;
  /** `Infinity` for a creator of a room of version 12 or later. */
  readonly powerLevel: number;
  /** Whether the user has created the room, alone or with others. */
  readonly isCreator: boolean;
}

export interface RoomMemberPage {
  /** In the order of their user ids. */
  readonly members: RoomMember[];
  /** How many members with this membership the room has. */
  readonly total: number;
  /** Pass it as `from` for the next page. Absent on the last page. */
  readonly next?: string;
}

const memberSchema = v.object({
  type: v.literal('m.room.member'),
  state_key: v.pipe(v.string(), v.startsWith('@')),
  content: v.object({
    membership: v.picklist(['join', 'invite', 'knock', 'leave', 'ban']),
    displayname: optionalText,
    avatar_url: optionalText,
  }),
});

type MemberEvent = v.InferOutput<typeof memberSchema>;

const chunkSchema = v.object({ chunk: v.array(v.unknown()) });

/**
 * The room's member events, by user id. The homeserver has no pages of them.
 * @see https://spec.matrix.org/v1.16/client-server-api/#get_matrixclientv3roomsroomidmembers
 */
export async function readMembers(
  actor: Actor,
  room: string,
  membership?: Membership,
): Promise<Map<string, MemberEvent['content']>> {
  const { chunk } = await actor.request(chunkSchema, {
    operation: `listing the members of ${room}`,
    roomId: room,
    method: 'GET',
    path: path`/_matrix/client/v3/rooms/${room}/members`,
    query: { membership },
  });
  const events = chunk.flatMap((event) => {
    const read = v.safeParse(memberSchema, event);
    return read.success ? [read.output] : [];
  });
  actor.http.countMalformed(chunk.length - events.length);
  const wanted = events.filter(({ content }) => membership === undefined || content.membership === membership);
  return new Map(wanted.map(({ state_key: userId, content }) => [userId, content]));
}

/** One page of the room's members. */
export async function readMemberPage(
  actor: Actor,
  { roomId: room, membership = 'join', limit = DEFAULT_LIMIT, from }: Omit<RoomMembersOptions, keyof RoomCallOptions>,
): Promise<RoomMemberPage> {
  const scope = `members\0${room}\0${membership}`;
  const after = from === undefined ? '' : readCursor(scope, from, room);
  const [members, creation] = await Promise.all([readMembers(actor, room, membership), readCreation(actor, room)]);
  const levels = await readPowerLevels(actor, room, creation);
  const userIds = [...members.keys()].toSorted();
  const rest = userIds.filter((userId) => userId > after);
  const page = rest.slice(0, limit);
  const last = page.at(-1);
  return {
    members: page.map((userId) => {
      const content = members.get(userId);
      return {
        userId,
        membership,
        displayName: content?.displayname,
        avatarUrl: content?.avatar_url,
        powerLevel: powerLevelOf(userId, levels, creation),
        isCreator: creation.creators.includes(userId),
      };
    }),
    total: userIds.length,
    ...(last !== undefined && page.length < rest.length && { next: encodeCursorText(scope, { after: last }) }),
  };
}

function readCursor(scope: string, from: string, room: string): string {
  const cursor = decodeCursorText(scope, from);
  if (isObject(cursor) && typeof cursor.after === 'string') return cursor.after;
  const message = `expected \`from\` to be the unchanged \`next\` of an earlier page of these members of ${room}. Start again without \`from\``;
  throw new MatrixClientManagerError('INVALID_CURSOR', message, { roomId: room });
}
