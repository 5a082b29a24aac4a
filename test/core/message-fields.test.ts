import { describe, expect, it } from 'vitest';
import { readMemberProfile } from '../../src/core/member-profile.js';
import { editTarget, readMessageFields } from '../../src/core/message-fields.js';
import type { RawEvent } from '../../src/core/raw-event.js';
import { toTimelineEvent } from '../../src/core/timeline-event.js';

const raw = (content: object, more: Partial<RawEvent> = {}): RawEvent => {
  const common = { event_id: '$1', type: 'm.room.message', sender: '@a:x', origin_server_ts: 1 };
  return { ...common, content: { ...content }, ...more };
};
const read = (content: object, more?: Partial<RawEvent>) => readMessageFields(raw(content, more));
const inReplyTo = { 'm.in_reply_to': { event_id: '$0' } };
const html = (formatted: unknown) => ({ format: 'org.matrix.custom.html', formatted_body: formatted });

describe('the text of a message', () => {
  it('is its body, with its HTML', () => {
    const content = { msgtype: 'm.notice', body: 'hi', ...html('<b>hi</b>') };
    expect(read(content)).toStrictEqual({ text: 'hi', html: '<b>hi</b>', msgtype: 'm.notice' });
    expect(read({ body: 'hi', formatted_body: '<b>hi</b>' })).toStrictEqual({ text: 'hi' });
  });

  it.each([
    ['> <@b:x> said\n\nhi', 'hi'],
    ['> <@b:x> said\n> more\n>\n> end\n\n> own\n\nhi', '> own\n\nhi'],
    ['> * <@b:x> waves\n\nhi', 'hi'],
    ['> <@b:x> said\nhi', 'hi'],
    ['> <@b:x> said\r\n>\r\n\r\nhi\r\nthere', 'hi\r\nthere'],
    ['> own quotation\n\nhi', '> own quotation\n\nhi'],
    ['> <@b:x> nothing more', '> <@b:x> nothing more'],
    ['hi\n> <@b:x> said\n\nthere', 'hi\n> <@b:x> said\n\nthere'],
  ])('of a reply has no quotation: %j', (body, text) => {
    expect(read({ body, 'm.relates_to': inReplyTo }).text).toBe(text);
    expect(read({ body }).text).toBe(body);
  });

  it.each([
    ['<mx-reply><blockquote>said</blockquote></mx-reply>hi', 'hi'],
    ['<mx-reply>a <mx-reply>b</mx-reply> c</mx-reply>hi', 'hi'],
    ['<mx-reply>a <mx-reply>b</mx-reply>hi', 'hi'],
    ['<mx-reply>a</mx-reply>hi <mx-reply>b</mx-reply>', 'hi <mx-reply>b</mx-reply>'],
    ['<mx-reply>never closed', '<mx-reply>never closed'],
    ['hi<mx-reply>x</mx-reply>', 'hi<mx-reply>x</mx-reply>'],
  ])('as HTML has no quotation either: %j', (formatted, expected) => {
    expect(read({ body: 'hi', ...html(formatted), 'm.relates_to': inReplyTo }).html).toBe(expected);
    expect(read({ body: 'hi', ...html(formatted) }).html).toBe(formatted);
  });
});

describe('what a message refers to', () => {
  it('is a reply, a thread, or a reply in a thread', () => {
    const thread = { rel_type: 'm.thread', event_id: '$t', ...inReplyTo };
    expect(read({ 'm.relates_to': inReplyTo })).toStrictEqual({ replyTo: '$0' });
    expect(read({ 'm.relates_to': thread })).toStrictEqual({ replyTo: '$0', threadId: '$t' });
    expect(read({ 'm.relates_to': { ...thread, is_falling_back: true } })).toStrictEqual({ threadId: '$t' });
    expect(read({ 'm.relates_to': { ...thread, event_id: 7, is_falling_back: true } })).toStrictEqual({
      replyTo: '$0',
    });
  });

  it('says whom it mentions', () => {
    const mentions = (value: unknown) => read({ 'm.mentions': value }).mentions;
    expect(mentions({ user_ids: ['@b:x', 7], room: true })).toStrictEqual({ userIds: ['@b:x'], room: true });
    const ids = ['@b:x', '<img>', '', '@b', '@c:x', '@b:x', `@${'a'.repeat(300)}:x`];
    expect(mentions({ user_ids: ids })?.userIds).toEqual(['@b:x', '@c:x']);
    expect(mentions({ user_ids: 'all', room: 'yes' })).toStrictEqual({ userIds: [], room: false });
    expect([mentions(undefined), mentions(null), mentions([])]).toEqual([undefined, undefined, undefined]);
  });

  it('is, for an edit, the edited message; the text is that after the edit', () => {
    const newContent = { msgtype: 'm.text', body: 'new', ...html('<i>new</i>'), 'm.mentions': { user_ids: ['@b:x'] } };
    const relation = { 'm.relates_to': { rel_type: 'm.replace', event_id: '$0' } };
    expect(read({ body: '* new', 'm.mentions': {}, 'm.new_content': newContent, ...relation })).toStrictEqual({
      edits: '$0',
      text: 'new',
      html: '<i>new</i>',
      msgtype: 'm.text',
      mentions: { userIds: ['@b:x'], room: false },
    });
    expect(read({ body: '* new', ...relation })).toStrictEqual({ text: '* new' });
    expect(editTarget(raw({ ...relation }))).toBeUndefined();
    const unreadable = raw({ ...relation, ciphertext: 'x' }, { type: 'm.room.encrypted' });
    expect(readMessageFields(unreadable)).toStrictEqual({ edits: '$0' });
  });
});

it('a field of a wrong type is left out', () => {
  for (const wrong of [null, 7, [], {}, true]) {
    const wrongs = { body: wrong, msgtype: wrong, format: wrong, formatted_body: wrong, 'm.relates_to': wrong };
    expect(read(wrongs)).toStrictEqual({});
    const relation = { rel_type: wrong, event_id: wrong, is_falling_back: wrong, 'm.in_reply_to': wrong };
    expect(read({ 'm.relates_to': relation, 'm.new_content': wrong })).toStrictEqual({});
    expect(read({ 'm.relates_to': { rel_type: 'm.replace', event_id: wrong } })).toStrictEqual({});
    expect(readMemberProfile({ displayname: wrong, avatar_url: wrong })).toStrictEqual({});
  }
  for (const relation of [{ rel_type: 'm.replace' }, { rel_type: 'm.thread' }, {}]) {
    const empty = { ...relation, event_id: '', 'm.in_reply_to': { event_id: '' } };
    expect(read({ 'm.relates_to': empty, 'm.new_content': {} })).toStrictEqual({});
  }
  const hostile = JSON.parse(
    '{"__proto__":{"body":"x","msgtype":"m.text"},"m.relates_to":{"__proto__":{"event_id":"$0"}}}',
  );
  expect(readMessageFields({ ...raw({}), content: hostile })).toStrictEqual({});
});

it('an event has the name and the avatar that its sender has in the room, where they are known', () => {
  const profile = readMemberProfile({ displayname: 'Alice', avatar_url: 'mxc://x/a' });
  expect(toTimelineEvent('!r:x', raw({}), () => profile)).toMatchObject({
    senderName: 'Alice',
    senderAvatarUrl: 'mxc://x/a',
  });
  for (const unknown of [undefined, readMemberProfile({ displayname: '', avatar_url: 'https://x/a' })]) {
    const event = toTimelineEvent('!r:x', raw({}), () => unknown);
    expect([event.senderName, event.senderAvatarUrl]).toEqual([undefined, undefined]);
  }
});
