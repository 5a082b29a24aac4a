import type { JsonObject } from '../json.js';
import { objectOrEmpty, requiredString } from '../json.js';
import { MatrixError, notFound } from '../matrix-error.js';
import { createRoom } from '../rooms/create-room.js';
import { assertMaySend, hasCreatorPower } from '../rooms/power-levels.js';
import { sendEvent } from '../rooms/send-event.js';
import type { Endpoint, EndpointRequest } from '../server/endpoint.js';

/** Replacing rooms by rooms of another version. */
export const upgradeEndpoints: readonly Endpoint[] = [
  { method: 'POST', path: '/rooms/{roomId}/upgrade', auth: 'user', handle: upgrade },
];

/** State that Synapse copies to the new room. */
const COPIED = [
  'm.room.join_rules',
  'm.room.name',
  'm.room.topic',
  'm.room.history_visibility',
  'm.room.guest_access',
  'm.room.avatar',
  'm.room.encryption',
];

function upgrade(request: EndpointRequest): JsonObject {
  const { world, user } = request;
  const version = requiredString(request.json(), 'new_version');
  if (!(Number(version) >= 1 && Number(version) <= 12)) {
    throw new MatrixError(400, 'M_UNSUPPORTED_ROOM_VERSION', 'Your homeserver does not support this room version');
  }
  const roomId = request.param('roomId');
  const room = world.rooms.get(roomId);
  if (!room) throw notFound(`Unknown room id ${roomId}`);
  assertMaySend(room, user.userId, 'm.room.tombstone', true);
  const state = room.state.current;
  const initial = COPIED.flatMap((type) => {
    const event = state.get(type);
    return event ? [{ type, state_key: '', content: structuredClone(event.content) }] : [];
  });
  const levels = objectOrEmpty(state.get('m.room.power_levels')?.content);
  const { [user.userId]: _creator, ...others } = objectOrEmpty(levels['users']);
  const users = hasCreatorPower(version) ? others : { ...others, [user.userId]: 100 };
  const replacement = createRoom(world, user.userId, {
    room_version: version,
    creation_content: { predecessor: { room_id: roomId } },
    initial_state: initial,
    power_level_content_override: { ...structuredClone(levels), users },
  });
  const content = { body: 'This room has been replaced', replacement_room: replacement.roomId };
  sendEvent(world, room, { type: 'm.room.tombstone', sender: user.userId, stateKey: '', content });
  for (const [alias, target] of world.aliases) if (target === roomId) world.aliases.set(alias, replacement.roomId);
  return { replacement_room: replacement.roomId };
}
