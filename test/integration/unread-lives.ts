import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { memoryStorage } from '../../src/index.js';
import type { ClientEvent, MatrixClientManager } from '../../src/index.js';
import { Recorder } from '../support/recorder.js';
import { managersOn } from './managers.js';
import type { Homeserver } from './managers.js';

const STEPS = ['say', 'mention', 'notice', 'thread', 'redact', 'reply', 'read', 'readSome', 'rejoin', 'stop', 'start'];

const step = fc.record({ do: fc.constantFrom('say', 'mention', ...STEPS), room: fc.nat(2), pick: fc.nat(9) });

interface Raw {
  readonly event_id: string;
  readonly type: string;
  readonly sender: string;
  readonly state_key?: string;
  readonly content: Readonly<Record<string, unknown>>;
  readonly unsigned?: Readonly<Record<string, unknown>>;
}

interface RawRoom {
  readonly timeline: { readonly events: readonly Raw[] };
  readonly ephemeral: { readonly events: readonly { readonly content: Readonly<Record<string, object>> }[] };
}

/**
 * What Element counts in a room of which the whole timeline is known: the messages of others after the user's join and
 * last receipt, without notices and redacted ones.
 */
function countOf({ timeline: { events }, ephemeral }: RawRoom, userId: string): { unread: number; highlights: number } {
  const read = new Set(
    ephemeral.events.flatMap(({ content }) =>
      Object.entries(content).flatMap(([eventId, types]) =>
        Object.values(types).some((users: object) => Object.keys(users).includes(userId)) ? [eventId] : [],
      ),
    ),
  );
  const isJoin = ({ type, state_key: key, content }: Raw): boolean =>
    type === 'm.room.member' && key === userId && content.membership === 'join';
  const start = events.findLastIndex((event) => read.has(event.event_id) || isJoin(event));
  const unread = events.slice(start + 1).filter(({ type, sender, content, unsigned }) => {
    if (type !== 'm.room.message' || sender === userId || unsigned?.redacted_because) return false;
    return content.msgtype === 'm.text';
  });
  const mentioned = unread.filter(({ content }) => JSON.stringify(content['m.mentions'] ?? {}).includes(userId));
  return { unread: unread.length, highlights: mentioned.length };
}

/** Random lives of a user, whose counts are compared with those that the test counts from raw events and receipts. */
export function unreadLives(name: string, homeserver: () => Homeserver, lives: number): void {
  describe(`unread counts over random lives on ${name}`, () => {
    const { makeManager, run } = managersOn(homeserver);
    let users = 0;

    async function expectedCounts(manager: MatrixClientManager, userId: string) {
      const room = { timeline: { limit: 100 }, ephemeral: { types: ['m.receipt'] } };
      const filter = JSON.stringify({ room, presence: { not_senders: [`@n${++users}:nonce.invalid`] } });
      const request = { userId, method: 'GET', path: '/_matrix/client/v3/sync', query: { filter } } as const;
      const { rooms } = (await manager.request(request)) as { rooms?: { join?: Record<string, RawRoom> } };
      const joined = Object.entries(rooms?.join ?? {});
      return new Map(joined.map(([roomId, raw]) => [roomId, countOf(raw, userId)]));
    }

    async function play(steps: readonly { do: string; room: number; pick: number }[], slidingSync: boolean) {
      const storage = memoryStorage();
      const manager = makeManager({ storage, slidingSync });
      const make = async () => (await manager.provisionUser({ username: `life-${++users}-${run}` })).userId;
      const [alice, bob] = [await make(), await make()];
      const roomIds: string[] = [];
      for (let index = 0; index < 3; index++) {
        const { roomId } = await manager.rooms.create({ userId: alice, preset: 'public_chat', name: `Room ${index}` });
        await manager.rooms.join({ userId: bob, roomId });
        roomIds.push(roomId);
      }
      const recorder = new Recorder();
      const last = new Map<string, string>();
      manager.addCallback(bob, recorder.callback, { types: ['unread', 'message'] });
      const sent = new Map<string, string[]>(roomIds.map((roomId) => [roomId, []]));
      let markers = 0;
      const rejoined = new Set<string>();

      const check = async (): Promise<void> => {
        if (manager.hasClient(bob)) {
          // Everything before it has arrived when the marker does.
          const marker = `marker ${++markers}`;
          await manager.sendMessage({ userId: alice, roomId: roomIds[0] ?? '', text: marker });
          await recorder.message(marker);
        }
        const expected = await expectedCounts(manager, bob);
        const sum = { unread: 0, highlights: 0, rooms: 0 };
        for (const { unread, highlights } of expected.values()) {
          sum.unread += unread;
          sum.highlights += highlights;
          sum.rooms += Number(unread > 0);
        }
        expect((await manager.unreadCounts([bob])).get(bob)).toEqual(sum);
        const { rooms } = await manager.listRooms(bob);
        const listed = rooms.map(({ roomId, unread, highlights }) => [roomId, { unread, highlights }] as const);
        expect(new Map(listed)).toEqual(expected);
      };

      for (const [index, { do: action, room, pick }] of steps.entries()) {
        const roomId = roomIds[room] ?? '';
        const events = sent.get(roomId) ?? [];
        const some = events.at(pick % Math.max(1, events.length));
        const text = `step ${index}`;
        const say = async (more: object): Promise<void> => {
          events.push((await manager.sendMessage({ userId: alice, roomId, text, ...more })).eventId);
        };
        if (action === 'say') await say({});
        if (action === 'mention') await say({ mentions: { userIds: [bob] } });
        if (action === 'notice') await say({ text: undefined, content: { msgtype: 'm.notice', body: text } });
        if (action === 'thread' && some !== undefined) await say({ threadId: events[0] });
        if (action === 'redact' && some !== undefined) await manager.redact({ userId: alice, roomId, eventId: some });
        if (action === 'reply') await manager.sendMessage({ userId: bob, roomId, text });
        if (action === 'read') {
          const newest = events.at(-1);
          if (newest !== undefined) await manager.markRead({ userId: bob, roomId, eventId: newest });
        }
        if (action === 'readSome' && some !== undefined) {
          // Not through the client, as another device does.
          const path = '/_matrix/client/v3/rooms/{roomId}/receipt/m.read.private/{eventId}';
          const pathParams = { roomId, eventId: some };
          await manager.request({ userId: bob, method: 'POST', path, pathParams, body: {} });
        }
        if (action === 'rejoin') {
          rejoined.add(roomId);
          await manager.rooms.leave({ userId: bob, roomId });
          await say({});
          await manager.rooms.join({ userId: bob, roomId });
        }
        if (action === 'stop') await manager.stopClient(bob);
        if (action === 'start') await manager.startClient({ userId: bob });
        if (index % 5 === 4) await check();
      }
      await check();
      for (const event of recorder.events.filter(
        (one): one is ClientEvent & { type: 'unread' } => one.type === 'unread',
      )) {
        const numbers = `${event.unread}/${event.highlights}`;
        if (rejoined.has(event.roomId)) continue; // a leave ends the count without an event
        expect([event.roomId, last.get(event.roomId)]).not.toEqual([event.roomId, numbers]);
        last.set(event.roomId, numbers);
      }
      await manager.shutdown();
    }

    it('are those of Element', async () => {
      const life = fc.array(step, { minLength: 15, maxLength: 30 });
      await fc.assert(fc.asyncProperty(life, fc.boolean(), play), {
        numRuns: lives,
        seed: Number(process.env.SEED ?? 7),
        endOnFailure: true,
      });
    }, 240_000);
  });
}
