import { randomBytes } from 'node:crypto';
import type { JsonObject } from '../json.js';
import { assertCanonical, isJsonObject, objectOrEmpty, stringsOf } from '../json.js';
import { MatrixError } from '../matrix-error.js';
import { randomEventId } from '../random-ids.js';
import type { World } from '../world/world.js';
import { changeMembership } from './membership.js';
import { assertNoCreators, hasCreatorPower } from './power-levels.js';
import type { Room } from './room.js';

const PRESETS = {
  private_chat: { joinRule: 'invite', guestsCanJoin: true },
  trusted_private_chat: { joinRule: 'invite', guestsCanJoin: true },
  public_chat: { joinRule: 'public', guestsCanJoin: false },
} as const;

type Preset = (typeof PRESETS)[keyof typeof PRESETS];

export const DEFAULT_ROOM_VERSION = '11';

/** @see https://spec.matrix.org/v1.16/client-server-api/#post_matrixclientv3createroom */
export function createRoom(world: World, creator: string, request: JsonObject): Room {
  const { preset, version, alias, invite } = readRequest(world, creator, request);
  const trusted = request['preset'] === 'trusted_private_chat' ? invite : [];
  const { users } = objectOrEmpty(request['power_level_content_override']);
  assertNoCreators(version, [creator, ...trusted], objectOrEmpty(users));
  const room = startRoom(world, creator, version, objectOrEmpty(request['creation_content']), trusted);
  const state = (type: string, content: JsonObject, stateKey = ''): void => {
    world.append(room, { type, sender: creator, content, stateKey });
  };
  state('m.room.power_levels', {
    ...defaultPowerLevels(version, [creator, ...trusted], preset),
    ...objectOrEmpty(request['power_level_content_override']),
  });
  if (alias !== undefined) {
    world.aliases.set(alias, room.roomId);
    world.aliasCreators.set(alias, creator);
    state('m.room.canonical_alias', { alias });
  }
  for (const event of initialState(request, preset).values()) state(event.type, event.content, event.stateKey);
  const extra = request['is_direct'] === true ? { is_direct: true } : undefined;
  for (const target of invite) changeMembership(world, room, { sender: creator, target, membership: 'invite', extra });
  return room;
}

interface InitialState {
  readonly type: string;
  readonly stateKey: string;
  readonly content: JsonObject;
}

/** The state of the preset, then of the caller, then name and topic. Later events replace earlier ones. */
function initialState(request: JsonObject, preset: Preset): Map<string, InitialState> {
  const { name, topic, initial_state: given } = request;
  const state = new Map<string, InitialState>();
  const set = (type: string, content: JsonObject, stateKey = ''): void => {
    state.set(`${type}\n${stateKey}`, { type, stateKey, content });
  };
  set('m.room.join_rules', { join_rule: preset.joinRule });
  set('m.room.history_visibility', { history_visibility: 'shared' });
  if (preset.guestsCanJoin) set('m.room.guest_access', { guest_access: 'can_join' });
  for (const event of Array.isArray(given) ? given.filter(isJsonObject) : []) {
    set(textOf(event['type']), objectOrEmpty(event['content']), textOf(event['state_key']));
  }
  if (typeof name === 'string') set('m.room.name', { name });
  if (typeof topic === 'string') set('m.room.topic', { topic, 'm.topic': { 'm.text': [{ body: topic }] } });
  return state;
}

function startRoom(world: World, creator: string, version: string, content: JsonObject, trusted: string[]): Room {
  const eventId = randomEventId();
  const creatorsCount = hasCreatorPower(version);
  // since version 12 the room id is derived from the id of the create event
  const roomId = creatorsCount
    ? `!${eventId.slice(1)}`
    : `!${randomBytes(12).toString('base64url')}:${world.serverName}`;
  const room = world.addRoom(roomId, version);
  const additional = creatorsCount && trusted.length > 0 ? { additional_creators: trusted } : {};
  world.append(room, {
    type: 'm.room.create',
    sender: creator,
    stateKey: '',
    content: { ...content, ...additional, room_version: version },
    eventId,
  });
  const user = world.users.get(creator);
  const profile = user?.displayName === undefined ? {} : { displayname: user.displayName };
  world.append(room, {
    type: 'm.room.member',
    sender: creator,
    stateKey: creator,
    content: { ...profile, membership: 'join' },
  });
  return room;
}

function readRequest(world: World, creator: string, request: JsonObject) {
  assertCanonical(request);
  for (const key of ['name', 'topic', 'room_alias_name']) {
    const value = request[key];
    if (value !== undefined && typeof value !== 'string') {
      throw new MatrixError(400, 'M_UNKNOWN', `'${key}' not a string type`);
    }
  }
  const version = request['room_version'] ?? DEFAULT_ROOM_VERSION;
  if (typeof version !== 'string' || !(Number(version) >= 1 && Number(version) <= 12)) {
    throw new MatrixError(400, 'M_UNSUPPORTED_ROOM_VERSION', 'Your homeserver does not support this room version');
  }
  const invite = stringsOf(request['invite']) ?? [];
  for (const userId of invite) {
    if (!/^@[^:]*:./.test(userId)) throw new MatrixError(400, 'M_UNKNOWN', `Invalid user_id: ${userId}`);
  }
  const { users } = objectOrEmpty(request['power_level_content_override']);
  if (isJsonObject(users) && !hasCreatorPower(version) && !(creator in users)) {
    const message = `Not a valid power_level_content_override: 'users' did not contain ${creator}`;
    throw new MatrixError(400, 'M_UNKNOWN', message);
  }
  const aliasName = request['room_alias_name'];
  const alias = typeof aliasName === 'string' ? `#${aliasName}:${world.serverName}` : undefined;
  if (alias !== undefined && world.aliases.has(alias)) {
    throw new MatrixError(400, 'M_ROOM_IN_USE', 'Room alias already taken');
  }
  const name = request['preset'] ?? (request['visibility'] === 'public' ? 'public_chat' : 'private_chat');
  const preset = Object.entries(PRESETS).find(([key]) => key === name)?.[1];
  if (!preset) throw new MatrixError(400, 'M_BAD_JSON', `'${textOf(name)}' is not a valid preset`);
  return { preset, version, alias, invite };
}

function textOf(value: unknown): string {
  return typeof value === 'string' ? value : '';
}

function defaultPowerLevels(version: string, creators: string[], preset: Preset): JsonObject {
  const creatorsAbove = hasCreatorPower(version);
  const isPublic = preset === PRESETS.public_chat;
  return {
    users: creatorsAbove ? {} : Object.fromEntries(creators.map((userId) => [userId, 100])),
    users_default: 0,
    events: {
      'm.room.name': 50,
      'm.room.power_levels': 100,
      'm.room.history_visibility': 100,
      'm.room.canonical_alias': 50,
      'm.room.avatar': 50,
      'm.room.tombstone': creatorsAbove ? 150 : 100,
      'm.room.server_acl': 100,
      'm.room.encryption': 100,
    },
    events_default: 0,
    state_default: 50,
    ban: 50,
    kick: 50,
    redact: 50,
    invite: 0,
    historical: 100,
    // as in Synapse, although `m.call.invite` belongs in `events`
    ...(isPublic && { invite: 50, 'm.call.invite': 50 }),
  };
}
