import { afterEach, describe, expect, it } from 'vitest';
import { encodeCursorText } from '../../src/core/opaque-cursor.js';
import type { MatrixClientManager, RoomSummaryPage } from '../../src/index.js';
import { managerOnFake } from '../support/manager-on-fake.js';
import { rejection } from '../support/rejection.js';

const managers: MatrixClientManager[] = [];
afterEach(async () => {
  await Promise.all(managers.splice(0).map((manager) => manager.shutdown()));
});

const SLIDING = '/_matrix/client/unstable/org.matrix.simplified_msc3575/sync';

/** A user in `count` rooms: R0 with the oldest message, and so on. */
async function setUp(count: number) {
  const on = managerOnFake();
  const { fake, manager, clock } = on;
  managers.push(manager);
  const { userId: alice } = await manager.provisionUser({ username: 'alice' });
  const bob = fake.createUser({ username: 'bob' }).userId;
  const newRoom = async (name: string): Promise<string> => {
    const roomId = fake.createRoom({ creator: bob, members: [alice], name });
    await clock.advance(1000);
    fake.sendMessage(roomId, bob, 'hello');
    return roomId;
  };
  const ids: string[] = [];
  for (let index = 0; index < count; index++) ids.push(await newRoom(`R${index}`));
  /** The names of the rooms on the pages after `next`, 50 pages at most. */
  const pagesAfter = async (next: string | undefined, limit: number): Promise<string[][]> => {
    const pages: string[][] = [];
    for (let from = next; pages.length < 50;) {
      const page: RoomSummaryPage = await manager.listRooms(alice, { limit, from });
      pages.push(namesOn(page));
      from = page.next;
      if (from === undefined) break;
    }
    return pages;
  };
  return { ...on, alice, bob, ids, newRoom, pagesAfter };
}

const namesOn = ({ rooms }: RoomSummaryPage): string[] => rooms.map(({ name }) => name);

describe('the pages of listRooms()', () => {
  it('go on behind rooms that the user was removed from', async () => {
    const { fake, alice, newRoom, pagesAfter } = await setUp(4);
    for (const name of ['K0', 'K1', 'K2', 'K3', 'K4', 'K5', 'K6']) fake.kick(await newRoom(name), alice);
    expect(await pagesAfter(undefined, 2)).toEqual([
      ['R3', 'R2'],
      ['R1', 'R0'],
    ]);
  });

  it('do not list a room twice when another one moves to the top', async () => {
    const { manager, fake, alice, bob, ids, pagesAfter } = await setUp(20);
    const page = await manager.listRooms(alice, { limit: 8 });
    fake.sendMessage(ids[0] as string, bob, 'up');
    const later = (await pagesAfter(page.next, 8)).flat();
    expect(new Set([...namesOn(page), ...later])).toHaveLength(19); // R0 is on the first page now
    expect(later).toHaveLength(11);
  });

  it.each([2, 6, 60])('end on a homeserver that ignores the indexes (limit %i)', async (limit) => {
    const { fake, pagesAfter } = await setUp(limit * 2);
    let first: { lists: { rooms: object } } | undefined;
    fake.faults.rewrite({ endpoint: SLIDING }, (body) => {
      first ??= body as typeof first & object;
      return { ...first, lists: { rooms: { ...first.lists.rooms, count: 1e9 } } };
    });
    const pages = await pagesAfter(undefined, limit);
    expect(pages.flat()).toHaveLength(limit);
    expect(pages.length).toBeLessThan(4);
  });

  it.each([-50, 1.5, 1e21, '1'])('refuse the index %s', async (index) => {
    const { manager, alice } = await setUp(1);
    const from = encodeCursorText(`rooms\0${alice}\0join`, { index, at: 0, recent: [] });
    expect(await rejection(manager.listRooms(alice, { from }))).toMatchObject({ code: 'INVALID_CURSOR' });
  });
});
