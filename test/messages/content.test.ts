import { expect, it } from 'vitest';
import { toContent } from '../../src/messages/content.js';
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
  expect(() => toContent({ text: 'Order shipped \ud83d' })).toThrow(invalid(/Unicode text in `text`/));
  expect(() => toContent({ text: 'ok', html: '<b>\udc00</b>' })).toThrow(invalid(/Unicode text in `html`/));
  expect(() => toContent({ content: { body: 'x', a: [{ '\ud83d': 1 }] } })).toThrow(invalid(/unpaired surrogate/));
});

it.each([[[1]], ['text'], [null], [{ toJSON: () => 'text' }]])('refuses %j as a content', (content) => {
  expect(() => toContent({ content: content as unknown as EventContent })).toThrow(invalid(/to be an object/));
});

it('refuses 60,000 bytes and more', () => {
  expect(() => toContent({ text: 'x'.repeat(60_000) })).toThrow(invalid(/at most 60000 bytes/));
});
