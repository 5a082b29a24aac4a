import { expect, it } from 'vitest';
import { TypingLists } from '../../src/delivery/typing-lists.js';

const [alice, bob, carol] = ['@alice:hs.test', '@bob:hs.test', '@carol:hs.test'] as const;

/** What alice's callbacks are told of these lists, one after the other. */
function told(...lists: readonly (readonly string[])[]): (readonly string[] | undefined)[] {
  const typing = new TypingLists(alice);
  return lists.map((userIds) => {
    const event = { type: 'typing', userId: alice, roomId: '!r:hs.test', provenance: 'live', userIds } as const;
    return typing.takeChange(event)?.userIds;
  });
}

it('does not tell a user that they are typing, nor that they have stopped', () => {
  expect(told([alice], [], [alice])).toEqual([undefined, undefined, undefined]);
});

it('tells of the others, without the user', () => {
  expect(told([bob], [bob, alice], [alice, bob, carol], [alice], [])).toEqual([
    [bob],
    undefined,
    [bob, carol],
    [],
    undefined,
  ]);
});

it('tells the first list of a room even where it is empty: somebody may have been typing before a restart', () => {
  expect(told([], [])).toEqual([[], undefined]);
});

it('tells each list of a history, without the user, and counts none of them as told', () => {
  const typing = new TypingLists(alice);
  const event = { type: 'typing', userId: alice, roomId: '!r:hs.test', userIds: [bob, alice] } as const;
  const old = { ...event, provenance: 'backlog' } as const;
  expect([typing.takeChange(old), typing.takeChange(old)]).toEqual([
    { ...old, userIds: [bob] },
    { ...old, userIds: [bob] },
  ]);
  expect(typing.takeChange({ ...event, provenance: 'live' })?.userIds).toEqual([bob]);
});
