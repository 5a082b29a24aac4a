import type { MessageEvent, Provenance } from '../../src/core/client-event.js';

let count = 0;

/** A message as callbacks get it; each has an id of its own unless told otherwise. */
export function messageEvent(
  event: Partial<Omit<MessageEvent, 'type'>> & { body?: string; provenance?: Provenance } = {},
): MessageEvent {
  const { body = 'hello', ...rest } = event;
  return {
    type: 'message',
    userId: '@alice:hs.test',
    roomId: '!room:hs.test',
    eventId: `$event-${++count}`,
    sender: '@bob:hs.test',
    timestamp: 0,
    content: { msgtype: 'm.text', body },
    eventType: 'm.room.message',
    encrypted: false,
    provenance: 'live',
    ...rest,
  };
}
