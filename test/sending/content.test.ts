import { expect, it } from 'vitest';
import { checkOptions } from '../../src/core/validation.js';
import { toContent } from '../../src/sending/content.js';
import type { MessageBody } from '../../src/sending/content.js';
import { sendMessageSchema } from '../../src/sending/send-message-options.js';
import type { EventContent } from '../../src/core/raw-event.js';

const invalid = (message: RegExp): object =>
  expect.objectContaining({ code: 'INVALID_OPTIONS', message: expect.stringMatching(message) as string });

it('makes the content of a text message', () => {
  expect(toContent({ text: 'hello', html: '<b>hello</b>' })).toEqual({
    msgtype: 'm.text',
    body: 'hello',
    format: 'org.matrix.custom.html',
    formatted_body: '<b>hello</b>',
  });
});

it('refuses 20,000 levels of nesting with a coded error (was a RangeError)', () => {
  let content: EventContent = {};
  for (let level = 0; level < 20_000; level++) content = { a: content };
  expect(() => toContent({ content })).toThrow(invalid(/at most 100 levels/));
});

it('refuses half an emoji, which Synapse answers 500', () => {
  expect(() => toContent({ text: 'Order shipped \ud83d' })).toThrow(invalid(/Unicode text .* at `content.body`/));
  expect(() => toContent({ text: 'ok', html: '<b>\udc00</b>' })).toThrow(invalid(/`content.formatted_body`/));
  expect(() => toContent({ content: { body: 'x', a: [{ '\ud83d': 1 }] } })).toThrow(invalid(/unpaired surrogate/));
});

it.each([[[1]], ['text'], [null], [{ toJSON: () => 'text' }]])('refuses %j as a content', (content) => {
  expect(() => toContent({ content: content as unknown as EventContent })).toThrow(invalid(/to be an object/));
});

it('prints no text of a message that is passed as the content', () => {
  const content = 'secret text' as unknown as EventContent;
  expect(() => toContent({ content })).toThrow(invalid(/^expected `content` to be an object, got a string of 11 char/));
});

it('refuses 60,000 bytes and more', () => {
  expect(() => toContent({ text: 'x'.repeat(60_000) })).toThrow(invalid(/at most 60000 bytes/));
});

it('makes the content of a text message without HTML, and copies one that is given', () => {
  expect(toContent({ text: '' })).toEqual({ msgtype: 'm.text', body: '' });
  const content = { list: [1] };
  const copy = toContent({ content });
  expect(copy).toEqual(content);
  expect(copy['list']).not.toBe(content.list);
});

it.each([
  [{}, /neither/],
  [{ text: 'x', content: {} }, /both/],
  [{ html: '<b>x</b>', content: {} }, /the plain form, beside `html`/],
  [{ content: { a: 1.5 } }, /`content/],
])('refuses %j', (body, message) => {
  expect(() => toContent(body as MessageBody)).toThrow(invalid(message));
});

it.each([
  [{ text: 7 }, /`text` of sendMessage\(\) to be a string of Unicode text, got number$/],
  [{ text: null }, /`text` .*, got null$/],
  [{ text: 'Order shipped \ud83d' }, /`text` .*, got a string with an unpaired surrogate$/],
  [{ text: 'x', html: {} }, /`html` .*, got object$/],
  [{ text: 'x', html: null }, /`html` .*, got null$/],
])('refuses the text %j', (body, message) => {
  const options = { userId: '@a:x', roomId: '!r:x', ...body };
  expect(() => checkOptions('sendMessage()', sendMessageSchema, options)).toThrow(invalid(message));
});

it('refuses a redaction that names no event, which Synapse answers 500', () => {
  for (const redacts of [undefined, null, 7, '', 'text', ['$1']]) {
    expect(() => toContent({ content: { redacts } }, 'm.room.redaction')).toThrow(invalid(/redacts/));
  }
  expect(toContent({ content: { redacts: '$1' } }, 'm.room.redaction')).toEqual({ redacts: '$1' });
  expect(toContent({ content: { redacts: 7 } })).toEqual({ redacts: 7 });
  expect(toContent({ content: { redacts: 7 } }, 'm.room.message')).toEqual({ redacts: 7 });
});
