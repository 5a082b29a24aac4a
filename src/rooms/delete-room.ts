import * as v from 'valibot';
import { delay, withDeadline } from '../core/abort.js';
import type { CallOptions } from '../core/call-options.js';
import type { Clock } from '../core/clock.js';
import { catchRejection } from '../core/contain.js';
import { isManagerError, MatrixClientManagerError } from '../core/errors.js';
import type { Logger } from '../core/logger.js';
import { durationMs, flag, functionOf, nullAsAbsent, optionsOf, roomId, signal, text } from '../core/validation.js';
import { failureClass } from '../http/failure-class.js';
import type { HttpRequest } from '../http/homeserver-http.js';
import { path } from '../http/path.js';
import { defaultRetryPolicy, retryDelayMs } from '../http/retry.js';
import { isAnswerLost } from './room-creation.js';

export interface DeleteRoomOptions extends CallOptions {
  readonly roomId: string;
  /** Whether nobody on this homeserver can join the room again. @default false */
  readonly block?: boolean | undefined;
  /** Whether the room is removed from the homeserver's database, with all messages. @default true */
  readonly purge?: boolean | undefined;
  /** Whether the room is removed although a user could not be removed from it. @default false */
  readonly forcePurge?: boolean | undefined;
  /** The reason, which the homeserver may show to the members. @default none */
  readonly message?: string | undefined;
  /** How long to wait for the end of the deletion, in milliseconds. @default 600_000 */
  readonly timeoutMs?: number | undefined;
  /** Called when the homeserver has told how far it is. Its errors are logged. @default none */
  readonly onProgress?: ((progress: RoomDeletion) => void) | undefined;
}

export const deleteRoomSchema = optionsOf<DeleteRoomOptions>({
  roomId,
  block: v.optional(flag),
  purge: v.optional(flag),
  forcePurge: v.optional(flag),
  message: v.optional(text),
  timeoutMs: nullAsAbsent(durationMs(1, 2 ** 31 - 1)),
  onProgress: v.optional(functionOf<(progress: RoomDeletion) => void>()),
  signal: v.optional(signal),
});

/** How far the deletion of a room is. */
export interface RoomDeletion {
  readonly status: 'scheduled' | 'active' | 'complete' | 'failed' | 'cancelled';
  /** Users who were removed from the room. */
  readonly kickedUsers: string[];
  /** Users who could not be removed. */
  readonly failedToKickUsers: string[];
  /** Aliases of the room, which were deleted. */
  readonly localAliases: string[];
}

export interface RoomDeleterOptions {
  readonly clock: Clock;
  readonly logger: Logger;
  /** Makes an Admin API call. */
  readonly request: <S extends v.GenericSchema>(
    schema: S,
    request: Omit<HttpRequest, 'session'>,
  ) => Promise<v.InferOutput<S>>;
  /** Called for each user who was removed. */
  readonly onKicked: (userId: string, roomId: string) => void;
}

const DEFAULT_TIMEOUT_MS = 600_000;
const FIRST_POLL_MS = 200;
const MAX_POLL_MS = 5_000;

const strings = v.fallback(v.array(v.string()), []);
const statusSchema = v.object({
  delete_id: v.string(),
  status: v.picklist(['scheduled', 'active', 'shutting_down', 'purging', 'complete', 'failed', 'cancelled']),
  shutdown_room: v.fallback(
    v.nullish(v.object({ kicked_users: strings, failed_to_kick_users: strings, local_aliases: strings })),
    undefined,
  ),
});
const startedSchema = v.object({ delete_id: v.string() });
const statusesSchema = v.object({ results: v.array(v.unknown()) });

/**
 * Deletes rooms over Synapse's Admin API.
 * @see https://element-hq.github.io/synapse/latest/admin_api/rooms.html#version-2-new-version
 */
export class RoomDeleter {
  readonly #options: RoomDeleterOptions;

  constructor(options: RoomDeleterOptions) {
    this.#options = options;
  }

  /** Deletes the room and waits for the end. A deletion that is already under way is waited for. */
  async delete(options: DeleteRoomOptions, callSignal: AbortSignal): Promise<RoomDeletion> {
    const { clock } = this.#options;
    const { roomId: room, timeoutMs = DEFAULT_TIMEOUT_MS } = options;
    const message = `deleting ${room} took longer than ${timeoutMs} ms; the homeserver continues with it`;
    const timeoutError = (): MatrixClientManagerError =>
      new MatrixClientManagerError('TIMEOUT', message, { roomId: room });
    const deletion = await withDeadline({ clock, timeoutMs, signal: callSignal }, timeoutError, async (until) =>
      this.#waitForEnd(await this.#start(options, until), options, until),
    );
    for (const kicked of deletion.kickedUsers) this.#options.onKicked(kicked, room);
    return deletion;
  }

  /** Returns the id of the deletion. If an answer is lost, looks for the deletion before it asks again. */
  async #start(options: DeleteRoomOptions, until: AbortSignal): Promise<string> {
    const { clock } = this.#options;
    const { roomId: room } = options;
    const earlier = new Set((await this.#deletionsOf(room, until)).map(({ delete_id: id }) => id));
    for (let failures = 1; ; failures++) {
      try {
        return await this.#request(options, until);
      } catch (error) {
        // Synapse refuses a second deletion: by another call, or by an attempt whose answer was lost.
        const isRefused = isManagerError(error, 'REJECTED') && error.status === 400;
        if (!isRefused && !isAnswerLost(error)) throw error;
        if (!isRefused)
          await delay(clock, retryDelayMs(error, failures, defaultRetryPolicy), until, `deleting ${room}`);
        const deletions = await this.#deletionsOf(room, until).catch(() => []);
        // A small room may be gone already. Asked again, Synapse would report a deletion that has removed nobody.
        const found =
          deletions.findLast(({ delete_id: id }) => !earlier.has(id)) ?? deletions.find(({ status }) => !isEnd(status));
        if (found) return found.delete_id;
        if (isRefused || failures >= defaultRetryPolicy.attempts) throw error;
      }
    }
  }

  async #request(options: DeleteRoomOptions, until: AbortSignal): Promise<string> {
    const { roomId: room, block = false, purge = true, forcePurge = false, message } = options;
    const started = await this.#options.request(startedSchema, {
      operation: `deleting ${room}`,
      roomId: room,
      method: 'DELETE',
      path: path`/_synapse/admin/v2/rooms/${room}`,
      body: { block, purge, force_purge: forcePurge, ...(message !== undefined && { message }) },
      repeatable: false,
      signal: until,
    });
    return started.delete_id;
  }

  /** The room's deletions of the last days, the newest at the end. */
  async #deletionsOf(room: string, until: AbortSignal): Promise<v.InferOutput<typeof statusSchema>[]> {
    try {
      const { results } = await this.#options.request(statusesSchema, {
        operation: `deleting ${room}`,
        roomId: room,
        method: 'GET',
        path: path`/_synapse/admin/v2/rooms/${room}/delete_status`,
        signal: until,
      });
      return results.flatMap((result) => {
        const read = v.safeParse(statusSchema, result);
        return read.success ? [read.output] : [];
      });
    } catch (error) {
      if (isManagerError(error, 'NOT_FOUND')) return [];
      throw error;
    }
  }

  async #waitForEnd(deleteId: string, options: DeleteRoomOptions, until: AbortSignal): Promise<RoomDeletion> {
    const { clock } = this.#options;
    const operation = `deleting ${options.roomId}`;
    for (let pollMs = FIRST_POLL_MS; ; pollMs = Math.min(pollMs * 2, MAX_POLL_MS)) {
      await delay(clock, pollMs, until, operation);
      const deletion = await this.#readStatus(deleteId, options, until);
      if (!deletion) continue;
      this.#report(deletion, options);
      if (deletion.status === 'complete') return deletion;
      if (isEnd(deletion.status)) {
        const message = `${operation} failed on the homeserver: see its log`;
        throw new MatrixClientManagerError('REJECTED', message, { roomId: options.roomId });
      }
    }
  }

  /** Undefined if the homeserver cannot tell it now. */
  async #readStatus(
    deleteId: string,
    { roomId: room }: DeleteRoomOptions,
    until: AbortSignal,
  ): Promise<RoomDeletion | undefined> {
    try {
      const { status, shutdown_room: result } = await this.#options.request(statusSchema, {
        operation: `deleting ${room}`,
        roomId: room,
        method: 'GET',
        path: path`/_synapse/admin/v2/rooms/delete_status/${deleteId}`,
        signal: until,
      });
      return {
        status: status === 'shutting_down' || status === 'purging' ? 'active' : status,
        kickedUsers: result?.kicked_users ?? [],
        failedToKickUsers: result?.failed_to_kick_users ?? [],
        localAliases: result?.local_aliases ?? [],
      };
    } catch (error) {
      if (['transient', 'rate-limited', 'unavailable'].includes(failureClass(error))) return undefined;
      throw error;
    }
  }

  #report(deletion: RoomDeletion, { roomId: room, onProgress }: DeleteRoomOptions): void {
    const failed = (err: unknown): void =>
      this.#options.logger.error({ roomId: room, err }, 'onProgress of a deletion failed');
    try {
      const returned: unknown = onProgress?.(structuredClone(deletion));
      catchRejection(returned, failed);
    } catch (error) {
      failed(error);
    }
  }
}

function isEnd(status: string): boolean {
  return status === 'complete' || status === 'failed' || status === 'cancelled';
}
