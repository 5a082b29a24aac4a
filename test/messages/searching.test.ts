import { describe, expect, it } from 'vitest';
import { checkOptions } from '../../src/core/validation.js';
import { MessageSearch, searchMessagesSchema } from '../../src/messages/search-messages.js';
import { FakeHomeserver } from '../../src/testing/fake-homeserver/fake-homeserver.js';
import { rejection } from '../support/rejection.js';
import { json } from '../support/scripted-fetch.js';
import { alice, httpOnScript, room } from './support/http-on-script.js';
import { searching } from './support/searching.js';

describe('searching, on the fake homeserver', () => {
  searching(it, expect, async () => new FakeHomeserver());
});

const seen = { has: async () => false, note: () => {} };

it('takes from an answer what is right', async () => {
  const event = {
    event_id: '$1',
    type: 'm.room.message',
    sender: alice,
    origin_server_ts: 1,
    content: { body: 'hit' },
  };
  const result = { ...event, room_id: room };
  const results = [
    { result, context: { profile_info: { [alice]: { displayname: 'Alice', avatar_url: 7 } } } },
    { result: event },
    { result: { ...result, type: 'm.room.name', state_key: '' } },
    { result: { ...result, event_id: 7 } },
    null,
    {},
  ];
  const answer = { search_categories: { room_events: { results, highlights: ['hit', 7], count: 'many' } } };
  const { http, session } = httpOnScript([json(answer)]);
  const { signal } = new AbortController();
  const found = await new MessageSearch(http, seen).search({ session }, { userId: alice, term: 'hit' }, signal);
  expect(found).toMatchObject({ highlights: ['hit'], count: undefined });
  expect(found.messages).toMatchObject([{ eventId: '$1', roomId: room, text: 'hit', senderName: 'Alice' }]);
  expect(found.messages).toHaveLength(1);
});

it.each([
  { term: '' },
  { term: '?!' },
  { term: 7 },
  { term: '\ud800a' },
  { term: 'a\0b' },
  { term: 'long '.repeat(201) },
  { rooms: [] },
  { rooms: ['lobby'] },
  { rooms: Array.from({ length: 101 }, () => room) },
  { limit: 0 },
  { limit: 101 },
  { room },
])('%j is refused before any request', async (options) => {
  const check = () => checkOptions('searchMessages()', searchMessagesSchema, { userId: alice, term: 'x', ...options });
  expect(await rejection(check)).toMatchObject({ code: 'INVALID_OPTIONS' });
});
