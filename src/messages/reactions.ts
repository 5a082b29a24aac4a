import { mapConcurrently } from '../core/map-concurrently.js';
import { isObject } from '../core/raw-event.js';
import type { RawEvent } from '../core/raw-event.js';
import type { EditsAndRedactions, MessageReaction, RoomMessage } from '../core/room-message.js';
import { readRelations } from './history-api.js';
import { MAX_REQUESTS } from './page-request.js';
import type { KnownReactions, PageRequest } from './page-request.js';

/** How many requests for reactions are under way at a time. */
const CONCURRENCY = 5;
/** How many reactions of a message are counted, the newest ones. */
const MAX_REACTIONS = 1_000;

/**
 * The reactions among the newest events of a room. They are all that the listed messages have, because a reaction is newer
 * than its message.
 */
export function knownReactions(events: readonly RawEvent[], { redactions }: EditsAndRedactions): KnownReactions {
  const ids = new Set(events.map(({ event_id: id }) => id));
  const reactions = new Map<string, RawEvent[]>();
  for (const event of events) {
    const target = readReaction(event)?.target;
    if (target === undefined || redactions.has(event.event_id)) continue;
    reactions.set(target, [...(reactions.get(target) ?? []), event]);
  }
  return (eventId) => (ids.has(eventId) ? (reactions.get(eventId) ?? []) : undefined);
}

/**
 * The messages with their reactions. Those that are not known are read from the homeserver, with a request per message,
 * or more if the homeserver returns few at once: it counts no reactions of redacted events and of ignored users.
 */
export async function withReactions(
  { http, session, roomId, signal }: PageRequest,
  messages: readonly RoomMessage[],
  known: KnownReactions | undefined,
): Promise<RoomMessage[]> {
  const failed = new AbortController();
  const ended = AbortSignal.any([signal, failed.signal]);
  const fetchReactions = async (eventId: string): Promise<readonly RawEvent[]> => {
    const relation = { roomId, eventId, relType: 'm.annotation', eventType: 'm.reaction', signal: ended };
    const reactions: RawEvent[] = [];
    try {
      let from: string | undefined;
      for (let requests = 0; requests < MAX_REQUESTS && reactions.length < MAX_REACTIONS; requests++) {
        const limit = MAX_REACTIONS - reactions.length;
        const { events, next } = await readRelations(http, session, { ...relation, from, limit });
        reactions.push(...events.slice(0, limit));
        if (next === undefined || next === from) break;
        from = next;
      }
      return reactions.toReversed();
    } catch (error) {
      failed.abort(); // the page fails as a whole: ends the other requests
      throw error;
    }
  };
  return mapConcurrently(messages, CONCURRENCY, async (message) => {
    if (message.type !== 'message' || message.redacted) return message;
    const events = known?.(message.eventId) ?? (await fetchReactions(message.eventId));
    return { ...message, reactions: summarize(message.eventId, events, session.userId) };
  });
}

/** @param events - oldest first */
function summarize(eventId: string, events: readonly RawEvent[], ownUserId: string): MessageReaction[] {
  const byKey = new Map<string, { readonly userIds: Set<string>; ownEventId?: string }>();
  for (const event of events) {
    const reaction = readReaction(event);
    if (reaction?.target !== eventId) continue; // the homeserver may return any event
    const summary = byKey.get(reaction.key) ?? { userIds: new Set() };
    byKey.set(reaction.key, summary);
    summary.userIds.add(event.sender);
    if (event.sender === ownUserId) summary.ownEventId ??= event.event_id;
  }
  return [...byKey].map(([key, { userIds, ownEventId }]) => {
    return { key, count: userIds.size, userIds: [...userIds], ...(ownEventId !== undefined && { ownEventId }) };
  });
}

function readReaction({ type, state_key: stateKey, content }: RawEvent): { target: string; key: string } | undefined {
  const relation = content['m.relates_to'];
  if (type !== 'm.reaction' || stateKey !== undefined || !isObject(relation)) return undefined;
  const { rel_type: relType, event_id: target, key } = relation;
  if (relType !== 'm.annotation' || typeof target !== 'string' || typeof key !== 'string') return undefined;
  return { target, key };
}
