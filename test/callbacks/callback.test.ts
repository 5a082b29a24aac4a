import { describe, expect, it } from 'vitest';
import { CallbackFilter } from '../../src/callbacks/callback.js';
import type { CallbackOptions } from '../../src/callbacks/callback.js';
import { clientEventTypes } from '../../src/core/client-event.js';
import type { ClientEvent } from '../../src/core/client-event.js';
import { rejection } from '../support/rejection.js';
import { messageEvent } from './message-event.js';

const typing: ClientEvent = { type: 'typing', userId: '@a:x', roomId: '!r:x', provenance: 'live', userIds: [] };
const matches = (options: CallbackOptions | undefined, event: ClientEvent): boolean =>
  CallbackFilter.forOneUser(options).matches(event);

describe('a filter', () => {
  it('without options lets everything through but history', () => {
    expect(matches(undefined, messageEvent())).toBe(true);
    expect(matches({}, typing)).toBe(true);
    expect(matches({}, messageEvent({ provenance: 'gap-fill' }))).toBe(true);
    expect(matches({}, messageEvent({ provenance: 'backlog' }))).toBe(false);
    expect(matches({ backlog: true }, messageEvent({ provenance: 'backlog' }))).toBe(true);
    expect(matches({ backlog: true }, messageEvent())).toBe(true);
  });

  it('of kinds lets those through', () => {
    expect(matches({ types: ['message'] }, messageEvent())).toBe(true);
    expect(matches({ types: ['typing', 'receipt'] }, messageEvent())).toBe(false);
    expect(matches({ types: ['typing'] }, typing)).toBe(true);
  });

  it('of Matrix event types lets those through', () => {
    const poll = messageEvent({ eventType: 'm.poll.start' });
    expect(matches({ types: ['m.poll.start'] }, poll)).toBe(true);
    expect(matches({ types: ['m.room.message', 'org.example.custom'] }, poll)).toBe(false);
    expect(matches({ types: ['m.poll.start', 'typing'] }, typing)).toBe(true);
    expect(matches({ types: ['m.typing'] }, typing)).toBe(false); // its kind is `typing`, and it is no event
  });

  it('of a prefix like m.call.* lets through the event types that begin with it', () => {
    const call = messageEvent({ eventType: 'm.call.invite' });
    expect(matches({ types: ['m.call.*'] }, call)).toBe(true);
    expect(matches({ types: ['m.poll.*', 'm.call.*'] }, call)).toBe(true);
    expect(matches({ types: ['m.*'] }, call)).toBe(true);
    expect(matches({ types: ['m.poll.*'] }, call)).toBe(false);
    expect(matches({ types: ['m.call.*'] }, messageEvent({ eventType: 'm.call' }))).toBe(false);
    expect(matches({ types: ['m.call.*'] }, messageEvent({ eventType: 'm.callback.x' }))).toBe(false);
    expect(matches({ types: ['typing.*'] }, typing)).toBe(false);
  });

  it("of an application's own event type without a dot lets it through", () => {
    expect(matches({ types: ['order_update'] }, messageEvent({ eventType: 'order_update' }))).toBe(true);
    expect(matches({ types: ['order_update'] }, messageEvent())).toBe(false);
  });

  it('of rooms lets what is of them through', () => {
    expect(matches({ rooms: ['!a:x', '!b:x'] }, messageEvent({ roomId: '!b:x' }))).toBe(true);
    expect(matches({ rooms: ['!a:x'] }, messageEvent({ roomId: '!b:x' }))).toBe(false);
  });

  it('of several things lets through what has them all', () => {
    const options = { types: ['message'], rooms: ['!a:x'] };
    expect(matches(options, messageEvent({ roomId: '!a:x' }))).toBe(true);
    expect(matches(options, messageEvent({ roomId: '!b:x' }))).toBe(false);
    expect(matches(options, { ...typing, roomId: '!a:x' })).toBe(false);
  });

  it('of nothing lets nothing through', () => {
    expect(matches({ types: [] }, messageEvent())).toBe(false);
    expect(matches({ rooms: [] }, messageEvent())).toBe(false);
  });

  it('does not change with the lists that it was made of', () => {
    const rooms = ['!a:x'];
    const filter = CallbackFilter.forOneUser({ rooms });
    rooms.push('!b:x');
    expect(filter.matches(messageEvent({ roomId: '!b:x' }))).toBe(false);
  });

  it.each(clientEventTypes)('takes the kind %s', (type) => {
    expect(() => CallbackFilter.forOneUser({ types: [type] })).not.toThrow();
  });

  it.each([
    [null, 'options'],
    [true, 'options'],
    ['message', 'options'],
    [[], 'options'],
    [{ types: 'message' }, '`types`'],
    [{ types: { 0: 'message' } }, '`types`'],
    [{ types: ['*'] }, '`types.0`'],
    [{ types: ['.*'] }, '`types.0`'],
    [{ types: ['m.call*'] }, '`types.0`'],
    [{ types: ['m.*.invite'] }, '`types.0`'],
    [{ types: ['message', 5] }, '`types.1`'],
    [{ types: ['m room message'] }, '`types.0`'],
    [{ types: [''] }, '`types.0`'],
    [{ types: null }, '`types`'],
    [{ rooms: '!a:x' }, '`rooms`'],
    [{ rooms: ['#alias:x'] }, '`roomId`'],
    [{ rooms: [undefined] }, '`roomId`'],
    [{ rooms: null }, '`rooms`'],
    [{ backlog: 'yes' }, '`backlog`'],
    [{ backlog: null }, '`backlog`'],
    [{ type: ['message'] }, '`type`'],
  ])('refuses the options %j', async (options, name) => {
    const error = await rejection(() => CallbackFilter.forOneUser(options as CallbackOptions));
    expect(error).toMatchObject({ code: 'INVALID_OPTIONS' });
    expect(error.message).toContain(name);
  });

  it('says in its errors which call and which kinds it means', async () => {
    const unknown = await rejection(() => CallbackFilter.forOneUser({ type: [] } as unknown as CallbackOptions));
    expect(unknown.message).toContain('addCallback()');
    const type = await rejection(() => CallbackFilter.forOneUser({ types: ['*'] }));
    expect(type.message).toContain('message, ');
  });
});
