import type { RawEvent } from './responses.js';
import { timelineLimit } from './timelines.js';
import type { Suite } from './test-api.js';
import type { TestUser } from './test-user.js';

const perSender = 10;

/** Syncs until `total` messages of a room have arrived. Returns their ids in the order of arrival. */
async function syncMessages(user: TestUser, roomId: string, since: string, total: number): Promise<string[]> {
  const seen: string[] = [];
  for (let position = since; seen.length < total;) {
    const response = await user.sync({ since: position, timeout: 10_000, filter: timelineLimit(100) });
    position = response.next_batch;
    seen.push(...messageIds(response.rooms?.join?.[roomId]?.timeline.events ?? []));
  }
  return seen;
}

const messageIds = (events: readonly RawEvent[]): string[] =>
  events.filter((event) => event.type === 'm.room.message').map((event) => event.event_id);

/**
 * Guarantees that hold with concurrent senders. /sync and /messages need not have the same order: /sync orders events
 * by arrival at the server, /messages by depth in the room's graph. On Synapse the two differ when one event is
 * processed more slowly than its neighbours.
 */
export function concurrentSenders({ describe, it, expect, world }: Suite): void {
  describe('concurrent senders', () => {
    it('lose nothing: sync and /messages have every event once, each sender in order', async () => {
      const senders = await (await world()).newUsers<[TestUser, TestUser, TestUser, TestUser, TestUser]>(5);
      const [alice, ...others] = senders;
      const roomId = await alice.createRoom(others);
      const { next_batch: since } = await alice.sync();
      const following = syncMessages(alice, roomId, since, senders.length * perSender);
      const sent = await Promise.all(
        senders.map(async (sender) => {
          const eventIds: string[] = [];
          for (let i = 0; i < perSender; i++) eventIds.push(await sender.say(roomId, `${i}`));
          return eventIds;
        }),
      );
      const synced = await following;
      const paged = messageIds((await alice.pageBack(roomId, 7)).toReversed());
      const inOneSync = messageIds(
        (await alice.syncRoom(roomId, { since, filter: timelineLimit(100) })).timeline.events,
      );
      expect(inOneSync).toEqual(synced);
      for (const seen of [synced, paged]) {
        expect(seen.toSorted()).toEqual(sent.flat().toSorted());
        for (const own of sent) expect(seen.filter((eventId) => own.includes(eventId))).toEqual(own);
      }
    }, 30_000);
  });
}
