import { expect, it } from 'vitest';
import { encryptionEvents } from '../../src/sync/encryption-events.js';
import { readSyncResponse } from '../../src/sync/sync-response.js';

const encryption = (n: number, more: object = {}) => ({
  type: 'm.room.encryption',
  state_key: '',
  event_id: `$${n}`,
  sender: '@alice:hs.test',
  origin_server_ts: n,
  content: { n },
  ...more,
});

function eventsOf(rooms: object): unknown[] {
  const options = { userId: '@alice:hs.test', since: 's', isCatchUp: false, timelineLimit: 10 };
  const { response } = readSyncResponse({ next_batch: 's', rooms }, options);
  return [...encryptionEvents(response)];
}

it('are found in the state and the timeline of joined rooms and of those that were left', () => {
  const found = eventsOf({
    join: {
      '!a:x': { state: { events: [encryption(1)] }, timeline: { events: [encryption(2)] } },
      '!b:x': { 'org.matrix.msc4222.state_after': { events: [encryption(3)] } },
      '!c:x': {},
    },
    leave: { '!d:x': { timeline: { events: [encryption(4)] } } },
  });
  expect(found).toEqual([
    ['!a:x', { n: 1 }],
    ['!a:x', { n: 2 }],
    ['!b:x', { n: 3 }],
    ['!d:x', { n: 4 }],
  ]);
});

it('do not count in invitations, which any user can send for any room, nor as messages of members', () => {
  const message = { ...encryption(1), state_key: undefined };
  const found = eventsOf({
    invite: { '!a:x': { invite_state: { events: [encryption(1)] } } },
    knock: { '!b:x': { knock_state: { events: [encryption(2)] } } },
    join: {
      '!c:x': { timeline: { events: [message, encryption(3, { state_key: 'other' })] } },
      '!d:x': { timeline: { events: [encryption(4, { type: 'm.room.encrypted' })] } },
    },
  });
  expect(found).toEqual([]);
});
