import * as v from 'valibot';
import { throwIfAborted } from '../core/abort.js';
import { isManagerError } from '../core/errors.js';
import { roomAlias, roomId } from '../core/validation.js';
import { path } from '../http/path.js';
import { callOf } from './room-calls.js';
import type { Actor, RoomCallOptions } from './room-calls.js';

export interface RoomAliasOptions extends RoomCallOptions {
  /** Such as `#lobby:example.org`. */
  readonly alias: string;
}

export interface SetAliasOptions extends RoomAliasOptions {
  /** The room that the alias leads to. */
  readonly roomId: string;
}

export const aliasSchema = callOf<RoomAliasOptions>({ alias: roomAlias });
export const setAliasSchema = callOf<SetAliasOptions>({ alias: roomAlias, roomId });

export interface ResolvedAlias {
  readonly roomId: string;
  /** Names of servers that know the room. */
  readonly servers: string[];
}

const resolvedSchema = v.object({
  room_id: v.string(),
  servers: v.fallback(v.optional(v.array(v.string()), []), []),
});

/** @see https://spec.matrix.org/v1.16/client-server-api/#get_matrixclientv3directoryroomroomalias */
export async function resolveAlias(actor: Actor, alias: string): Promise<ResolvedAlias> {
  const { room_id: room, servers } = await actor.request(resolvedSchema, {
    operation: `resolving ${alias}`,
    method: 'GET',
    path: path`/_matrix/client/v3/directory/room/${alias}`,
  });
  return { roomId: room, servers };
}

/** Rejects with `REJECTED` if the alias leads to another room. */
export async function setAlias(actor: Actor, alias: string, room: string): Promise<void> {
  try {
    await actor.request(v.unknown(), {
      operation: `setting the alias ${alias} of ${room}`,
      roomId: room,
      method: 'PUT',
      path: path`/_matrix/client/v3/directory/room/${alias}`,
      body: { room_id: room },
    });
  } catch (error) {
    if (!isManagerError(error, 'REJECTED')) throw error;
    const current = await resolveAlias(actor, alias).catch(() => undefined);
    throwIfAborted(actor.signal, `setting the alias ${alias} of ${room}`);
    if (current?.roomId !== room) throw error;
  }
}

/** Resolves also if there is no such alias. */
export async function removeAlias(actor: Actor, alias: string): Promise<void> {
  try {
    await actor.request(v.unknown(), {
      operation: `removing the alias ${alias}`,
      method: 'DELETE',
      path: path`/_matrix/client/v3/directory/room/${alias}`,
    });
  } catch (error) {
    if (!isManagerError(error, 'NOT_FOUND')) throw error;
  }
}
