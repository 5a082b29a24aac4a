import { EventTimeline } from 'matrix-js-sdk';
import type { ISyncResponse, MatrixClient } from 'matrix-js-sdk';

/**
 * Keeps the SDK's live timelines short. It never does so itself, and its cost per event grows with their length.
 * A timeline may grow to twice `limit` before it is cut back, so that the cost of cutting is shared by many events.
 */
export function trimTimelines(client: MatrixClient, roomIds: readonly string[], limit: number): void {
  for (const roomId of roomIds) {
    const room = client.getRoom(roomId);
    const events = room?.getLiveTimeline().getEvents();
    if (!room || !events || events.length <= 2 * limit) continue;
    const timelineSet = room.getUnfilteredTimelineSet();
    for (const event of events.slice(0, events.length - limit)) {
      const eventId = event.getId();
      if (eventId !== undefined) timelineSet.removeEvent(eventId);
    }
    // What the token pointed before is gone from the timeline; nothing may paginate from it any more.
    room.getLiveTimeline().setPaginationToken(null, EventTimeline.BACKWARDS);
  }
}

/**
 * Takes events that the SDK has already out of a response, as after a return to a room. It would ignore them, but say
 * so on the console, by a logger that was bound before anybody could silence it.
 */
export function dropKnownEvents(client: MatrixClient, response: ISyncResponse): void {
  for (const [roomId, { timeline }] of Object.entries(response.rooms?.join ?? {})) {
    const room = client.getRoom(roomId);
    if (!room || !timeline?.events) continue;
    timeline.events = timeline.events.filter(({ event_id: id }) => room.findEventById(id) === undefined);
  }
}
