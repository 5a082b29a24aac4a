import { throwIfAborted } from '../core/abort.js';
import { MatrixClientManagerError } from '../core/errors.js';
import type { RawEvent } from '../core/raw-event.js';
import type { PagePosition } from './cursor.js';
import { fetchCursorToken, readMessages } from './history-api.js';
import type { Direction } from './history-api.js';
import type { Chunk, PageRequest } from './page-request.js';

/** One response of the homeserver: the events beyond the position. */
export async function readChunk(
  { http, session, roomId, members, signal }: PageRequest,
  { token, beyond }: PagePosition,
  missing: number,
  dir: Direction,
): Promise<Chunk<RawEvent>> {
  throwIfAborted(signal, `reading messages of ${roomId}`);
  const request = { roomId, signal };
  const from = token ?? (beyond === undefined ? undefined : await fetchCursorToken(http, session, beyond, request));
  // Reading backwards from an event's token returns this event first; it was on the previous page and is removed below.
  const limit = beyond === undefined ? missing : missing + 1;
  const { events, end, members: senders } = await readMessages(http, session, { ...request, from, limit, dir });
  members.add(senders);
  // Forwards, some homeservers say so that there are no newer events.
  const isStuck = end !== undefined && end === from;
  if (isStuck && dir === 'b') {
    throw new MatrixClientManagerError(
      'INVALID_RESPONSE',
      `reading messages of ${roomId} failed: the response's \`end\` equals the requested \`from\`, so that older messages cannot be read`,
      { userId: session.userId, roomId },
    );
  }
  const further = beyond === undefined ? events : events.filter((event) => event.event_id !== beyond);
  return { events: further, next: end === undefined || isStuck ? undefined : { token: end } };
}
