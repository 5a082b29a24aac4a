import * as v from 'valibot';
import { delay } from '../core/abort.js';
import type { Clock } from '../core/clock.js';
import { ownProperty } from '../core/own-property.js';
import { name, roomId } from '../core/validation.js';
import { path } from '../http/path.js';
import type { SeenEncryption } from './encryption-state.js';
import { ENCRYPTION_CONTENT } from './encryption-state.js';
import { callOf } from './room-calls.js';
import { isAnswerLost, LOOK_DELAYS_MS } from './room-creation.js';
import type { Actor, RoomCallOptions } from './room-calls.js';

export interface UpgradeRoomOptions extends RoomCallOptions {
  readonly roomId: string;
  /** The version of the new room, such as `12`. */
  readonly version: string;
}

export const upgradeSchema = callOf<UpgradeRoomOptions>({ roomId, version: name });

const upgradedSchema = v.object({ replacement_room: v.string() });

/**
 * Replaces the room by a new one. A room that was replaced before is not replaced again, whatever the version of the room
 * that replaced it. Returns the id of the new room.
 * @see https://spec.matrix.org/v1.16/client-server-api/#post_matrixclientv3roomsroomidupgrade
 */
export async function upgradeRoom(
  actor: Actor,
  room: string,
  version: string,
  { encryption, clock }: { readonly encryption: SeenEncryption; readonly clock: Clock },
): Promise<string> {
  const replacement = (await replacementOf(actor, room)) ?? (await upgrade(actor, room, version, clock));
  // The homeserver copies the encryption to the new room. A room that replaces an encrypted one never counts as clear.
  if (await encryption.has(room)) encryption.note([[replacement, ENCRYPTION_CONTENT]]);
  return replacement;
}

async function upgrade(actor: Actor, room: string, version: string, clock: Clock): Promise<string> {
  const operation = `upgrading ${room}`;
  try {
    const upgraded = await actor.request(upgradedSchema, {
      operation,
      roomId: room,
      method: 'POST',
      path: path`/_matrix/client/v3/rooms/${room}/upgrade`,
      body: { new_version: version },
    });
    return upgraded.replacement_room;
  } catch (error) {
    if (!isAnswerLost(error)) throw error;
    for (const delayMs of LOOK_DELAYS_MS) {
      await delay(clock, delayMs, actor.signal, operation); // the homeserver may still be making the new room
      const found = await replacementOf(actor, room).catch(() => undefined);
      if (found !== undefined) return found;
    }
    throw error;
  }
}

async function replacementOf(actor: Actor, room: string): Promise<string | undefined> {
  const replacement = ownProperty(await actor.stateIfAny(room, 'm.room.tombstone'), 'replacement_room');
  return typeof replacement === 'string' && replacement.startsWith('!') ? replacement : undefined;
}
