import { describe, expect, it } from 'vitest';
import type { RawEvent } from '../../src/core/raw-event.js';
import { checkArgument } from '../../src/core/validation.js';
import { eventTypeFilter, pageTypes } from '../../src/messages/event-types.js';
import { changesOf, noChanges } from '../../src/core/room-message.js';
import { rejection } from '../support/rejection.js';

const event = (type: string, more: Partial<RawEvent> = {}): RawEvent => {
  return { event_id: '$1', type, sender: '@a:x', origin_server_ts: 1, content: {}, ...more };
};
const edit = event('m.room.message', {
  event_id: '$edit',
  content: { 'm.new_content': {}, 'm.relates_to': { rel_type: 'm.replace', event_id: '$1' } },
});

const samples: Record<string, RawEvent> = {
  message: event('m.room.message'),
  encrypted: event('m.room.encrypted'),
  custom: event('order_update'),
  edit,
  reaction: event('m.reaction'),
  redaction: event('m.room.redaction'),
  membership: event('m.room.member', { state_key: '@a:x' }),
  memberWithoutKey: event('m.room.member'),
  state: event('m.room.name', { state_key: '' }),
  stateOfReactionType: event('m.reaction', { state_key: '' }),
};

describe('the types of a page', () => {
  it.each([
    [undefined, ['message', 'encrypted', 'custom', 'memberWithoutKey']],
    [['message'], ['message', 'encrypted', 'custom', 'memberWithoutKey']],
    [['reaction'], ['reaction']],
    [['redaction'], ['redaction']],
    [['membership'], ['membership']],
    [['state'], ['state', 'stateOfReactionType']],
    [['m.room.message'], ['message', 'edit']],
    [['m.room.*'], ['message', 'encrypted', 'edit', 'redaction', 'membership', 'memberWithoutKey', 'state']],
    [
      ['order_update', 'reaction'],
      ['custom', 'reaction'],
    ],
    [[], []],
  ])('%j are on the page', (types, names) => {
    const filter = eventTypeFilter(types);
    expect(Object.keys(samples).filter((name) => filter(samples[name] as RawEvent, noChanges))).toEqual(names);
  });

  it('show an edit that was taken back, which the homeserver does not tell from a message', () => {
    const redaction = event('m.room.redaction', { event_id: '$r', content: { redacts: '$edit' } });
    expect(eventTypeFilter()(edit, changesOf([edit, redaction]))).toBe(true);
    expect(eventTypeFilter(['reaction'])(edit, changesOf([edit, redaction]))).toBe(false);
  });

  it.each([[['two words']], [[7]], ['message'], [{}], [null]])('are refused where they are %j', async (types) => {
    expect(await rejection(() => checkArgument('types', pageTypes, types))).toMatchObject({ code: 'INVALID_OPTIONS' });
  });

  it('names the kinds in its error', async () => {
    const { message } = await rejection(() => checkArgument('types', pageTypes, ['*']));
    expect(message).toContain('message, reaction, redaction, membership, state,');
  });
});
