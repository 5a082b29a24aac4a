import { EventTimeline } from 'matrix-js-sdk';
import type { ISyncResponse, MatrixClient } from 'matrix-js-sdk';

/**
 * Shortens the SDK's live timelines, because the SDK does not and its cost per event grows with their length.
 * A timeline is cut to `limit` events only once it has twice as many, so that one cut serves many events.
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
    // The token belongs to a removed event. Without it the SDK does not paginate back from there.
    room.getLiveTimeline().setPaginationToken(null, EventTimeline.BACKWARDS);
  }
}

/**
 * Removes events that the SDK already has from a response, as after a rejoin. The SDK ignores such events, but logs each
 * one on the console through a logger that cannot be silenced.
 */
export function dropKnownEvents(client: MatrixClient, response: ISyncResponse): void {
  for (const [roomId, { timeline }] of Object.entries(response.rooms?.join ?? {})) {
    const room = client.getRoom(roomId);
    if (!room || !timeline?.events) continue;
    timeline.events = timeline.events.filter(({ event_id: id }) => room.findEventById(id) === undefined);
  }
}
