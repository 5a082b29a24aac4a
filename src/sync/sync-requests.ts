import * as v from 'valibot';
import type { Telemetry } from '../core/telemetry.js';
import type { HomeserverHttp } from '../http/homeserver-http.js';
import type { Session } from '../http/session.js';
import { isRoomId } from './response-parts.js';

export const SYNC_PATH = '/_matrix/client/v3/sync';
const SLIDING_SYNC_PATH = '/_matrix/client/unstable/org.matrix.simplified_msc3575/sync';

export type SyncQuery = Readonly<Record<string, string | number | undefined>>;

export interface SyncRequestsOptions {
  readonly userId: string;
  readonly session: Session;
  readonly http: HomeserverHttp;
  readonly telemetry: Telemetry;
  readonly requestTimeoutMs: number;
  /** Ends every request. */
  readonly signal: AbortSignal;
  /** Whether requests are given up when the homeserver goes down. */
  readonly endsWithOutage: () => boolean;
}

const joinedRoomsSchema = v.object({ joined_rooms: v.fallback(v.optional(v.array(v.unknown())), undefined) });

/** What a client asks for to know what happens to its user. Each is sent once; its caller repeats it. */
export class SyncRequests {
  readonly #options: SyncRequestsOptions;

  constructor(options: SyncRequestsOptions) {
    this.#options = options;
  }

  /**
   * @param signal - one that fires with the signal of the options, or earlier
   * @see https://spec.matrix.org/v1.16/client-server-api/#get_matrixclientv3sync
   */
  sync(query: SyncQuery, timeoutMs: number, signal = this.#options.signal): Promise<unknown> {
    return this.#send(v.unknown(), 'GET', SYNC_PATH, { query, timeoutMs, signal });
  }

  /** @see https://github.com/matrix-org/matrix-spec-proposals/pull/4186 */
  slidingSync(body: unknown): Promise<Readonly<Record<string, unknown>>> {
    return this.#send(v.looseObject({}), 'POST', SLIDING_SYNC_PATH, { query: { timeout: 0 }, body });
  }

  /** Counts parts of an answer that its reader had to leave out. */
  malformed(parts: number): void {
    this.#options.http.countMalformed(parts);
  }

  /** @see https://spec.matrix.org/v1.16/client-server-api/#get_matrixclientv3joined_rooms */
  /** Undefined when the homeserver answers without a list. */
  async joinedRooms(): Promise<string[] | undefined> {
    const { joined_rooms: rooms } = await this.#send(joinedRoomsSchema, 'GET', '/_matrix/client/v3/joined_rooms', {});
    const roomIds = rooms?.filter((roomId) => typeof roomId === 'string').filter(isRoomId);
    this.#options.http.countMalformed(rooms && roomIds ? rooms.length - roomIds.length : 1);
    return roomIds;
  }

  #send<Schema extends v.GenericSchema>(
    schema: Schema,
    method: 'GET' | 'POST',
    path: string,
    more: { query?: SyncQuery; body?: unknown; timeoutMs?: number; signal?: AbortSignal },
  ): Promise<v.InferOutput<Schema>> {
    const { userId, http, session, telemetry, requestTimeoutMs, signal, endsWithOutage } = this.#options;
    // The loop goes on long after the call that started the client.
    return telemetry.detached(() =>
      http.request(schema, {
        operation: `sync of ${userId}`,
        userId,
        method,
        path,
        session,
        priority: 'sync',
        abortOnOutage: endsWithOutage(),
        repeatable: false, // repeated by the loop, with a back-off that has no end
        retry: { attempts: 1 },
        timeoutMs: requestTimeoutMs,
        signal,
        ...more,
      }),
    );
  }
}
