import type { expect as vitestExpect, it as vitestIt } from 'vitest';
import type { FoundMessages } from '../../../src/index.js';
import type { HomeserverTarget } from '../../../src/testing/contracts/homeserver-contract.js';
import { Deployment } from '../../encryption/support/encrypted-chats.js';
import { rejection } from '../../support/rejection.js';

const textsOf = ({ messages }: FoundMessages) => messages.map(({ text }) => text);

/** The search for messages: on a fake homeserver, and a real one. */
export function searching(
  it: typeof vitestIt,
  expect: typeof vitestExpect,
  target: () => Promise<HomeserverTarget>,
): void {
  async function setUp() {
    const deployment = new Deployment(await target());
    const manager = deployment.start();
    const [alice, bob] = [await deployment.user(manager), await deployment.user(manager)];
    const create = async (options: object = {}): Promise<string> =>
      (await manager.rooms.create({ userId: alice, preset: 'private_chat', ...options })).roomId;
    const say = async (roomId: string, text: string, more: object = {}): Promise<string> =>
      (await manager.sendMessage({ userId: alice, roomId, text, ...more })).eventId;
    return { manager, alice, bob, create, say };
  }

  it('finds messages of the same shape as on pages, page by page', async () => {
    const { manager, alice, bob, create, say } = await setUp();
    const [one, two] = [await create({ invite: [bob] }), await create()];
    await manager.rooms.join({ userId: bob, roomId: one });
    const first = await say(one, 'a needle');
    const reply = await say(one, 'the second needle', { replyTo: first });
    const elsewhere = await say(two, 'needle elsewhere');
    await say(one, 'hay');
    const all = await manager.searchMessages({ userId: alice, term: 'Needle' });
    expect(textsOf(all)).toEqual(['needle elsewhere', 'the second needle', 'a needle']);
    expect(all).toMatchObject({ count: 3, highlights: [expect.stringMatching(/needle/i)] });
    expect(all.messages[0]).toMatchObject({ eventId: elsewhere, roomId: two });
    expect(all).not.toHaveProperty('end');
    const { messages } = await manager.getRoomMessages({ userId: alice, roomId: one });
    expect(all.messages[1]).toEqual(messages.find(({ eventId }) => eventId === reply));
    expect(textsOf(await manager.searchMessages({ userId: bob, term: 'needle' }))).toHaveLength(2);
    const asked = { userId: alice, term: 'needle', rooms: [one], limit: 1 };
    const page = await manager.searchMessages(asked);
    const next = await manager.searchMessages({ ...asked, from: page.end });
    expect([...textsOf(page), ...textsOf(next)]).toEqual(['the second needle', 'a needle']);
    const last = await manager.searchMessages({ ...asked, from: next.end });
    expect([textsOf(last), last.end]).toEqual([[], undefined]);
    for (const change of [{ term: 'hay' }, { rooms: [one, two] }, { from: `${page.end}A` }]) {
      const answer = manager.searchMessages({ ...asked, from: page.end, ...change });
      expect(await rejection(answer)).toMatchObject({ code: 'INVALID_CURSOR' });
    }
  });

  it('refuses encrypted rooms, and rooms that the user has not joined', async () => {
    const { manager, alice, bob, create, say } = await setUp();
    const [clear, encrypted] = [await create({ invite: [bob] }), await create({ encrypted: true })];
    await say(clear, 'a needle');
    const search = (userId: string, rooms: string[]) => manager.searchMessages({ userId, term: 'needle', rooms });
    expect(await rejection(search(alice, [clear, encrypted]))).toMatchObject({
      code: 'ENCRYPTED_ROOM',
      roomId: encrypted,
    });
    expect(await rejection(search(bob, [clear]))).toMatchObject({ code: 'FORBIDDEN', roomId: clear });
    expect(textsOf(await search(alice, [clear]))).toEqual(['a needle']);
    await manager.rooms.join({ userId: bob, roomId: clear });
    await manager.rooms.leave({ userId: bob, roomId: clear });
    expect(await rejection(search(bob, [clear]))).toMatchObject({ code: 'FORBIDDEN' });
  });
}
