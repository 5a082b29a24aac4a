import * as v from 'valibot';
import { isRoomId } from './response-parts.js';
import type { SyncContext } from './sync-context.js';

export const SYNC_PATH = '/_matrix/client/v3/sync';
const SLIDING_SYNC_PATH = '/_matrix/client/unstable/org.matrix.simplified_msc3575/sync';

export type SyncQuery = Readonly<Record<string, string | number | undefined>>;

const joinedRoomsSchema = v.object({ joined_rooms: v.fallback(v.optional(v.array(v.unknown())), undefined) });

/** The requests that a client's sync loop sends. Each is sent once; the caller retries. */
export class SyncRequests {
  readonly #context: SyncContext;
  readonly #abortOnOutage: () => boolean;

  /** @param abortOnOutage - whether a request is aborted when the homeserver goes down */
  constructor(context: SyncContext, abortOnOutage: () => boolean) {
    this.#context = context;
    this.#abortOnOutage = abortOnOutage;
  }

  /**
   * @param timeoutMs - deadline of the request
   * @param signal - must fire no later than the signal of the context
   * @see https://spec.matrix.org/v1.16/client-server-api/#get_matrixclientv3sync
   */
  sync(query: SyncQuery, timeoutMs: number, signal = this.#context.signal): Promise<unknown> {
    return this.#send(v.unknown(), 'GET', SYNC_PATH, { query, timeoutMs, signal });
  }

  /** @see https://github.com/matrix-org/matrix-spec-proposals/pull/4186 */
  slidingSync(body: unknown): Promise<Readonly<Record<string, unknown>>> {
    return this.#send(v.looseObject({}), 'POST', SLIDING_SYNC_PATH, { query: { timeout: 0 }, body });
  }

  /** Reports the number of malformed parts that were left out of a response. */
  countMalformed(parts: number): void {
    this.#context.http.countMalformed(parts);
  }

  /**
   * Resolves to undefined if the response has no list, or one with malformed ids: a joined room may then be absent.
   * @see https://spec.matrix.org/v1.16/client-server-api/#get_matrixclientv3joined_rooms
   */
  async joinedRooms(): Promise<string[] | undefined> {
    const { joined_rooms: rooms } = await this.#send(joinedRoomsSchema, 'GET', '/_matrix/client/v3/joined_rooms', {});
    const roomIds = rooms?.filter((roomId) => typeof roomId === 'string').filter(isRoomId);
    const malformed = rooms && roomIds ? rooms.length - roomIds.length : 1;
    this.#context.http.countMalformed(malformed);
    return malformed === 0 ? roomIds : undefined;
  }

  #send<Schema extends v.GenericSchema>(
    schema: Schema,
    method: 'GET' | 'POST',
    path: string,
    more: { query?: SyncQuery; body?: unknown; timeoutMs?: number; signal?: AbortSignal },
  ): Promise<v.InferOutput<Schema>> {
    const { userId, http, session, diagnostics, signal } = this.#context;
    // The loop outlives the call that started the client, so its requests do not belong to the trace of that call.
    return diagnostics.detached(() =>
      http.request(schema, {
        operation: `sync of ${userId}`,
        userId,
        method,
        path,
        session,
        priority: 'sync',
        abortOnOutage: this.#abortOnOutage(),
        repeatable: false, // the loop retries, without a limit
        retry: { attempts: 1 },
        signal,
        ...more,
      }),
    );
  }
}
