import { describe, expect, it } from 'vitest';
import { decryption } from '../../src/core/decryption.js';
import type { RawEvent } from '../../src/core/raw-event.js';
import { editTarget } from '../../src/core/message-fields.js';
import { changesOf, toRoomMessage as mapMessage } from '../../src/core/room-message.js';
import type { EditsAndRedactions } from '../../src/core/room-message.js';

const toRoomMessage = (roomId: string, event: RawEvent, changes: EditsAndRedactions) =>
  mapMessage(roomId, event, changes, () => undefined);

const sender = {
  authenticated: true,
  deviceId: 'D',
  signedByOwner: true,
  ownerVerified: false,
  identityChanged: false,
};
const encrypted = { [decryption]: { state: 'decrypted', sender } } as const;

function message(event_id: string, content: object, more: Partial<RawEvent> = {}): RawEvent {
  const common = { type: 'm.room.message', sender: '@a:x', origin_server_ts: 1 };
  return { event_id, ...common, content: { msgtype: 'm.text', ...content }, ...more };
}

describe('toRoomMessage()', () => {
  it.each([
    [{}, {}, 'edited'],
    [{}, encrypted, 'edited'],
    [encrypted, encrypted, 'edited'],
    [encrypted, {}, 'said'],
  ])('takes no edit in the clear for what came encrypted (%#)', (original, edit, body) => {
    const said = message('$1', { body: 'said' }, original);
    const change = { 'm.new_content': { body: 'edited' }, 'm.relates_to': { rel_type: 'm.replace', event_id: '$1' } };
    const edited = message('$2', { body: '* edited', ...change }, edit);
    expect(toRoomMessage('!r:x', said, changesOf([said, edited])).content.body).toBe(body);
  });
});

it('an edit of another event that the homeserver bundles with an event replaces nothing', () => {
  const change = { 'm.new_content': { body: 'edited' }, 'm.relates_to': { rel_type: 'm.replace', event_id: '$other' } };
  const edit = message('$2', { body: '* edited', ...change });
  const bundled = { unsigned: { 'm.relations': { 'm.replace': edit } } };
  expect(toRoomMessage('!r:x', message('$1', { body: 'said' }, bundled), changesOf([])).content.body).toBe('said');
  const own = message('$other', { body: 'said' }, bundled);
  expect(toRoomMessage('!r:x', own, changesOf([])).content.body).toBe('edited');
});

const replacing = (eventId: unknown, body = 'edited') => ({
  'm.new_content': { body },
  'm.relates_to': { rel_type: 'm.replace', event_id: eventId },
});
const edit = (id: string, body: string, more: Partial<RawEvent> = {}): RawEvent =>
  message(id, replacing('$1', body), { origin_server_ts: 2, ...more });
const redaction = (id: string, redacts: unknown, more: object = {}): RawEvent =>
  message(id, {}, { type: 'm.room.redaction', content: { redacts, ...more }, origin_server_ts: 9, sender: '@mod:x' });
const shown = (...events: [RawEvent, ...RawEvent[]]) => toRoomMessage('!r:x', events[0], changesOf(events));

describe('a message of a page', () => {
  it('is what the event says', () => {
    const said = message('$1', { body: 'said' });
    expect(shown(said)).toStrictEqual({
      eventId: '$1',
      roomId: '!r:x',
      type: 'message',
      eventType: 'm.room.message',
      text: 'said',
      msgtype: 'm.text',
      sender: '@a:x',
      timestamp: 1,
      encrypted: false,
      content: { msgtype: 'm.text', body: 'said' },
    });
  });

  it('has a state key where it is state, and says what came of its decryption', () => {
    expect(shown(message('$1', {}, { state_key: '' }))).toMatchObject({ stateKey: '' });
    expect(shown(message('$1', {}, encrypted))).toMatchObject({ encrypted: true, decryption: { state: 'decrypted' } });
    expect(shown(message('$1', {}, { type: 'm.room.encrypted' }))).toMatchObject({ encrypted: true });
  });
});

describe('an edited message', () => {
  const said = message('$1', { body: 'said' });

  it('shows the newest edit, by time and then by id, in whatever order they come', () => {
    const edits = [edit('$5', 'five', { origin_server_ts: 5 }), edit('$3', 'three'), edit('$4', 'four')] as const;
    expect(shown(said, ...edits)).toMatchObject({ content: { body: 'five' }, edited: { eventId: '$5', timestamp: 5 } });
    for (const [first, second] of [
      [edits[1], edits[2]],
      [edits[2], edits[1]],
    ] as const) {
      expect(shown(said, first, second)).toMatchObject({ content: { body: 'four' }, edited: { eventId: '$4' } });
    }
    expect(shown(said, edits[0]).content).toStrictEqual({ body: 'five' });
  });

  it('shows the edit of the latest time, whatever its id, and whatever order they come in', () => {
    const [later, earlier] = [edit('$2', 'later', { origin_server_ts: 9 }), edit('$8', 'earlier')];
    expect(shown(said, later, earlier).content.body).toBe('later');
    expect(shown(said, earlier, later).content.body).toBe('later');
    const again = edit('$8', 'said twice');
    expect(shown(said, earlier, again).content.body).toBe('earlier');
  });

  it('keeps what it relates to itself, such as the message that it replies to', () => {
    const relation = { 'm.in_reply_to': { event_id: '$0' } };
    const reply = message('$1', { body: 'said', 'm.relates_to': relation });
    expect(shown(reply, edit('$2', 'new')).content).toEqual({ body: 'new', 'm.relates_to': relation });
  });

  it('takes no relation and no other edit from the new content', () => {
    const nested = { 'm.relates_to': { rel_type: 'm.thread', event_id: '$7' }, 'm.new_content': { body: 'nested' } };
    const change = replacing('$1');
    const content = { ...change, 'm.new_content': { ...change['m.new_content'], ...nested } };
    const edited = shown(said, message('$2', content));
    expect(edited).toMatchObject({ text: 'edited', content: { body: 'edited' } });
    expect(edited).not.toHaveProperty('threadId');
    expect(edited.content).toStrictEqual({ body: 'edited' });
  });

  it('has the text of the edit as callbacks have it, though it looks like the quotation of a reply', () => {
    const body = '> <@b:x> she said\n\nI agree';
    const reply = message('$1', { body, 'm.relates_to': { 'm.in_reply_to': { event_id: '$0' } } });
    expect(shown(reply).text).toBe('I agree');
    expect(shown(reply, edit('$2', body))).toMatchObject({ text: body, replyTo: '$0' });
  });

  it('shows the edit that the homeserver bundles with it, unless it knows a newer one', () => {
    const bundled = message(
      '$1',
      { body: 'said' },
      { unsigned: { 'm.relations': { 'm.replace': edit('$2', 'two') } } },
    );
    expect(shown(bundled).content.body).toBe('two');
    expect(shown(bundled, edit('$3', 'three')).content.body).toBe('three');
    for (const relations of [null, 'x', { 'm.replace': null }, { 'm.replace': { event_id: '$2' } }]) {
      expect(shown({ ...bundled, unsigned: { 'm.relations': relations } }).content.body).toBe('said');
    }
  });

  it.each([
    ['of another user', edit('$2', 'x', { sender: '@b:x' })],
    ['of another type', edit('$2', 'x', { type: 'm.other' })],
    ['that is state', edit('$2', 'x', { state_key: '' })],
    ['without a new content', message('$2', { 'm.relates_to': { rel_type: 'm.replace', event_id: '$1' } })],
    ['whose new content is none', message('$2', { ...replacing('$1'), 'm.new_content': 'x' })],
    ['that names no event', message('$2', replacing(7))],
    ['of another relation', message('$2', { ...replacing('$1'), 'm.relates_to': { rel_type: 'm.x', event_id: '$1' } })],
    ['whose relation is none', message('$2', { ...replacing('$1'), 'm.relates_to': 'x' })],
    ['of another message', message('$2', replacing('$7'))],
  ])('shows no edit %s', (_which, change) => {
    const { content, edited } = shown(said, change);
    expect([content.body, edited]).toEqual(['said', undefined]);
  });

  it('is no edit where its relation names no event', () => {
    expect(editTarget(message('$2', replacing(7)))).toBeUndefined();
    expect(editTarget(message('$2', replacing('$1')))).toBe('$1');
  });

  it('shows no edit of state, nor of an edit', () => {
    expect(shown(message('$1', { body: 'said' }, { state_key: '' }), edit('$2', 'x')).content.body).toBe('said');
    expect(shown(message('$1', { body: 'said', ...replacing('$0') }), edit('$2', 'x')).content.body).toBe('said');
  });

  it('shows the edit before one that was taken back', () => {
    const edits = [edit('$2', 'two'), edit('$3', 'three', { origin_server_ts: 3 })] as const;
    expect(shown(said, ...edits, redaction('$4', '$3')).content.body).toBe('two');
  });
});

describe('a message that was taken back', () => {
  const said = message('$1', { body: 'said' });

  it('is empty, and says who took it back, when and why', () => {
    const gone = shown(said, edit('$2', 'two'), redaction('$9', '$1', { reason: 'spam' }));
    expect(gone.content).toEqual({});
    expect(gone.edited).toBeUndefined();
    expect(gone.redacted).toEqual({ eventId: '$9', sender: '@mod:x', timestamp: 9, reason: 'spam' });
  });

  it('is known by the event itself, and by redactions of old room versions', () => {
    const old = { ...redaction('$9', undefined), redacts: '$1' };
    expect(shown(said, old).redacted).toMatchObject({ eventId: '$9' });
    expect(shown({ ...said, unsigned: { redacted_because: redaction('$9', '$1') } }).redacted).toBeDefined();
    expect(shown(said, redaction('$9', 7)).redacted).toBeUndefined();
    expect(shown(said, message('$9', { redacts: '$1' })).redacted).toBeUndefined();
  });

  it('is not taken back by a redaction that names another event as well', () => {
    const two = { ...redaction('$9', '$other'), redacts: '$1' };
    expect(shown(said, two).redacted).toBeUndefined();
    expect(shown(message('$other', { body: 'said' }), two).redacted).toBeUndefined();
    expect(shown(said, { ...redaction('$9', 7), redacts: '$1' }).redacted).toBeDefined();
    expect(shown(said, { ...redaction('$9', '$1'), redacts: '$1' }).redacted).toBeDefined();
  });

  it('of an invitation by a third party keeps its signed part only', () => {
    const content = { membership: 'invite', third_party_invite: { display_name: 'A', signed: { token: 't' } } };
    const state = message('$1', {}, { type: 'm.room.member', content, state_key: '@a:x' });
    expect(shown(state, redaction('$9', '$1')).content).toStrictEqual({
      membership: 'invite',
      third_party_invite: { signed: { token: 't' } },
    });
  });

  const powerLevels = {
    ban: 50,
    events: { 'm.room.name': 50 },
    events_default: 0,
    invite: 0,
    kick: 50,
    redact: 50,
    state_default: 50,
    users: { '@a:x': 100 },
    users_default: 0,
    notifications: { room: 50 },
  };
  it.each([
    ['m.room.member', { membership: 'join', join_authorised_via_users_server: '@x:x', displayname: 'A' }, 2],
    ['m.room.join_rules', { join_rule: 'restricted', allow: [], x: 1 }, 2],
    ['m.room.history_visibility', { history_visibility: 'shared', x: 1 }, 1],
    ['m.room.power_levels', powerLevels, 9],
    ['m.room.member', { membership: 'invite', third_party_invite: { signed: { token: 't' } }, displayname: 'A' }, 2],
    ['m.room.member', { membership: 'invite', third_party_invite: { display_name: 'A' } }, 1],
    ['m.room.member', { membership: 'invite', third_party_invite: null }, 1],
    ['m.room.create', { creator: '@a:x', x: 1 }, 2],
    ['m.room.name', { name: 'N' }, 0],
    ['m.room.member', { displayname: 'A' }, 0],
  ])('of the state %s keeps what everybody needs (%#)', (type, content: object, kept) => {
    const state = message('$1', {}, { type, content: { ...content }, state_key: '' });
    expect(shown(state, redaction('$9', '$1')).content).toStrictEqual(
      Object.fromEntries(Object.entries(content).slice(0, kept)),
    );
  });

  it('keeps nothing where it is no state, whatever its type', () => {
    const odd = message('$1', {}, { type: 'm.room.member', content: { membership: 'join' } });
    expect(shown(odd, redaction('$9', '$1')).content).toEqual({});
  });
});
