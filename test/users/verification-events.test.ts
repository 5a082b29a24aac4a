import { expect, it } from 'vitest';
import type { EventBatch } from '../../src/core/ports/event-source.js';
import type { RawEvent } from '../../src/core/raw-event.js';
import { VerificationEvents } from '../../src/users/verification-events.js';

const request = { msgtype: 'm.key.verification.request', to: '@bob:x', from_device: 'A', methods: ['m.sas.v1'] };

function event(event_id: string, type: string, content: object, more: object = {}): RawEvent {
  return { event_id, type, sender: '@alice:x', content, origin_server_ts: 1, ...more } as RawEvent;
}

function setUp() {
  const taken: string[] = [];
  const events = new VerificationEvents({
    receiveVerification: (roomId, { eventId, isEcho }) => taken.push(`${roomId} ${eventId}${isEcho ? ' echo' : ''}`),
    decrypt: async (_roomId, raw) => {
      if (raw.event_id === '$broken') throw new Error('the client stops');
      return raw.event_id === '$secret' ? { ...raw, type: 'm.room.message', content: request } : raw;
    },
  });
  const timeline = [
    event('$broken', 'm.room.encrypted', {}),
    event('$secret', 'm.room.encrypted', {}),
    event('$unreadable', 'm.room.encrypted', {}),
    event('$clear', 'm.room.message', request),
    event('$message', 'm.room.message', { msgtype: 'm.text', body: 'hi' }),
    event('$state', 'm.key.verification.ready', {}, { state_key: '' }),
    event('$own', 'm.key.verification.ready', {}, { unsigned: { transaction_id: 't' } }),
  ];
  const room = (roomId: string, provenance: string) => ({ roomId, provenance, timeline, ephemeral: [] });
  const rooms = [room('!live:x', 'live'), room('!old:x', 'backlog')];
  return { taken, events, batch: { rooms, invites: [] } as unknown as EventBatch };
}

it('takes the encrypted verification events of a batch that comes again later too', async () => {
  const { taken, events, batch } = setUp();
  await events.takeAll(batch);
  expect(taken).toEqual(['!live:x $clear', '!live:x $own echo', '!live:x $secret']);
});

it('decrypts nothing for a user without callbacks', () => {
  const { taken, events, batch } = setUp();
  events.takeUnencrypted(batch);
  expect(taken).toEqual(['!live:x $clear', '!live:x $own echo']);
});
