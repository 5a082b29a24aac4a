import { describe, expect, it } from 'vitest';
import type { EventContent } from '../../src/core/raw-event.js';
import { roomName } from '../../src/rooms/room-name.js';

interface Room {
  readonly state?: Readonly<Record<string, EventContent>>;
  /** User ids with their display names. */
  readonly heroes?: Readonly<Record<string, unknown>>;
  readonly joined?: number;
  readonly invited?: number;
}

function nameOf({ state = {}, heroes = {}, joined = 1, invited = 0 }: Room): string {
  const contents = new Map(Object.entries(state));
  const names = new Map(Object.entries(heroes));
  return roomName({
    state: (type, stateKey = '') =>
      type === 'm.room.member'
        ? { displayname: names.get(stateKey) }
        : stateKey === ''
          ? contents.get(type)
          : undefined,
    heroes: [...names.keys()],
    joinedCount: joined,
    invitedCount: invited,
  });
}

const [alice, bob, cara] = ['@alice:hs', '@bob:hs', '@cara:hs'];
const alias = { 'm.room.canonical_alias': { alias: '#kitchen:hs' } };

describe('the name of a room', () => {
  it.each([
    ['its name', { state: { ...alias, 'm.room.name': { name: 'Kitchen' } }, heroes: { [alice]: 'Alice' } }, 'Kitchen'],
    ['its alias', { state: { ...alias, 'm.room.name': { name: ' ' } } }, '#kitchen:hs'],
    ['its alias if the name is no text', { state: { ...alias, 'm.room.name': { name: 7 } } }, '#kitchen:hs'],
    ['the other member', { heroes: { [alice]: 'Alice' }, joined: 2 }, 'Alice'],
    ['the id of a member without a name', { heroes: { [alice]: 5 }, joined: 2 }, alice],
    ['two members', { heroes: { [alice]: 'Alice', [bob]: 'Bob' }, joined: 2, invited: 1 }, 'Alice and Bob'],
    ['three members', { heroes: { [alice]: 'A', [bob]: 'B', [cara]: 'C' }, joined: 4 }, 'A, B and C'],
    ['two with the same name', { heroes: { [alice]: 'X', [bob]: 'X' }, joined: 3 }, `X (${alice}) and X (${bob})`],
    ['some of many', { heroes: { [alice]: 'Alice', [bob]: 'Bob' }, joined: 10 }, 'Alice, Bob and 7 others'],
    ['all but one', { heroes: { [alice]: 'Alice', [bob]: 'Bob' }, joined: 4 }, 'Alice, Bob and 1 other'],
    ['their number if nobody is known', { joined: 3 }, '2 others'],
    ['that it is empty', {}, 'Empty room'],
    ['who has left', { heroes: { [alice]: 'Alice', [bob]: 'Bob' } }, 'Empty room (was Alice and Bob)'],
  ] satisfies [string, Room, string][])('is %s', (_what, room, name) => {
    expect(nameOf(room)).toBe(name);
  });
});
