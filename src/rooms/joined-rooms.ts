import * as v from 'valibot';
import type { Actor } from './room-calls.js';

const joinedRoomsSchema = v.object({ joined_rooms: v.array(v.unknown()) });

/** The ids of the rooms that the actor has joined. What is no room id is left out. */
export async function joinedRooms(actor: Actor): Promise<string[]> {
  const { joined_rooms: joined } = await actor.request(joinedRoomsSchema, {
    operation: 'listing rooms',
    method: 'GET',
    path: '/_matrix/client/v3/joined_rooms',
  });
  return joined.filter((roomId) => typeof roomId === 'string' && roomId.startsWith('!')) as string[];
}
