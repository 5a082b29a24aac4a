import { expect, test } from 'vitest';

interface PageTimeline {
  readonly messages: readonly unknown[];
  get(eventId: string): unknown;
  edit(edit: { eventId: string; edits: string; sender: string; text: string }): void;
  takeNewest(newest: unknown): void;
}

// A module of the page, which has no types.
const module: string = '../../demo/page/timeline.js';
const { Timeline } = (await import(module)) as { readonly Timeline: new () => PageTimeline };

const message = { eventId: '$m', sender: '@alice:hs', timestamp: 1, kind: 'text', text: 'first', isEdited: false };
const page = { messages: [message], reactions: [], receipts: [], end: undefined };

test('an edit by another sender changes nothing, and takes no place of an edit by the sender', () => {
  const timeline = new Timeline();
  timeline.edit({ eventId: '$e', edits: '$m', sender: '@alice:hs', text: 'second' });
  timeline.edit({ eventId: '$f', edits: '$m', sender: '@mallory:hs', text: 'forged' });
  timeline.takeNewest(page); // as it was before the edits
  expect(timeline.messages).toEqual([{ ...message, text: 'second', isEdited: true }]);
  timeline.edit({ eventId: '$g', edits: '$m', sender: '@mallory:hs', text: 'forged' });
  expect(timeline.get('$m')).toMatchObject({ text: 'second' });
});
