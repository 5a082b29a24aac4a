import type { JsonObject } from '../json.js';
import { isJsonObject, objectOrEmpty, stringsOf } from '../json.js';
import { MatrixError } from '../matrix-error.js';
import { clientEvent } from '../rooms/client-event.js';
import { EventFilter } from '../rooms/event-filter.js';
import type { Room } from '../rooms/room.js';
import type { RoomEvent } from '../rooms/room-event.js';
import { parseSearchTerm } from '../rooms/search-term.js';
import { canSee } from '../rooms/visibility.js';
import type { Endpoint, EndpointRequest } from '../server/endpoint.js';

/** The search of messages by their text, newest first. */
export const searchEndpoints: readonly Endpoint[] = [{ method: 'POST', path: '/search', auth: 'user', handle: search }];

/** @see https://spec.matrix.org/v1.16/client-server-api/#post_matrixclientv3search */
function search(request: EndpointRequest): JsonObject {
  const { world, user, viewer } = request;
  const query = objectOrEmpty(objectOrEmpty(request.json()['search_categories'])['room_events']);
  const { search_term: term, order_by: orderBy = 'rank' } = query;
  if (typeof term !== 'string') throw new MatrixError(400, 'M_UNKNOWN', 'Invalid search query');
  if (orderBy !== 'recent') throw new MatrixError(400, 'M_UNKNOWN', `Invalid order by: ${JSON.stringify(orderBy)}`);
  const start = readBatch(request.query.get('next_batch'));
  const keys = stringsOf(query['keys']) ?? ['content.body'];
  const definition = objectOrEmpty(query['filter']);
  const filter = new EventFilter(definition);
  const limit = typeof definition['limit'] === 'number' ? definition['limit'] : 10;
  const { matches, highlights } = parseSearchTerm(term);
  const found = keys.includes('content.body')
    ? [...world.rooms.values()]
        .filter((room) => room.joined.has(user.userId) && filter.acceptsRoom(room.roomId))
        .flatMap((room) => room.events.filter((event) => isFound(event, matches)).map((event) => ({ room, event })))
        .toSorted((a, b) => b.event.stream - a.event.stream)
    : [];
  const visible = found.filter(
    ({ room, event }) => event.stream < start && filter.accepts(event) && canSee(room, user, event),
  );
  const page = visible.slice(0, limit);
  const last = page.at(-1);
  const includesProfile = objectOrEmpty(query['event_context'])['include_profile'] === true;
  const view = { format: 'full', membership: true, relations: true } as const;
  return {
    search_categories: {
      room_events: {
        results: page.map(({ room, event }) => ({
          rank: 0,
          result: clientEvent(room, event, viewer, view),
          context: isJsonObject(query['event_context']) ? contextOf(room, event, includesProfile) : {},
        })),
        count: found.length,
        highlights: page.length > 0 ? highlights : [],
        // as in Synapse, also on a full page that is the last one
        ...(last && page.length === limit && { next_batch: toBatch(last.event) }),
      },
    },
  };
}

function isFound({ type, stateKey, content, redactedBecause }: RoomEvent, matches: (text: string) => boolean): boolean {
  if (type !== 'm.room.message' || stateKey !== undefined || redactedBecause) return false;
  return typeof content['body'] === 'string' && matches(content['body']);
}

function contextOf(room: Room, { sender, stream }: RoomEvent, includesProfile: boolean): JsonObject {
  const member = includesProfile ? room.state.at(stream).get('m.room.member', sender) : undefined;
  const { displayname = null, avatar_url: avatarUrl = null } = member?.content ?? {};
  return {
    events_before: [],
    events_after: [],
    ...(member && { profile_info: { [sender]: { displayname, avatar_url: avatarUrl } } }),
  };
}

function toBatch({ timestamp, stream }: RoomEvent): string {
  return Buffer.from(`all\n\n${timestamp},${stream}`).toString('base64').replaceAll('=', '');
}

/** The position before which the search goes on. */
function readBatch(batch: string | null): number {
  if (batch === null) return Infinity;
  const match = /^all\n\n\d+,(\d+)$/.exec(Buffer.from(batch, 'base64').toString());
  if (!match) throw new MatrixError(400, 'M_UNKNOWN', 'Invalid batch');
  return Number(match[1]);
}
