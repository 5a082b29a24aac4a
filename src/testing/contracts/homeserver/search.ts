import type { Suite } from './test-api.js';
import type { TestUser } from './test-user.js';

interface Found {
  readonly results: {
    readonly result: {
      readonly event_id: string;
      readonly room_id: string;
      readonly content: { readonly body: string };
    };
    readonly context: { readonly profile_info?: Readonly<Record<string, unknown>> };
  }[];
  readonly highlights: string[];
  readonly count: number;
  readonly next_batch?: string;
}

const PATH = '/_matrix/client/v3/search';

function requestBody(term: string, filter: object = {}): object {
  const category = {
    search_term: term,
    keys: ['content.body'],
    order_by: 'recent',
    filter,
    event_context: { before_limit: 0, after_limit: 0, include_profile: true },
  };
  return { search_categories: { room_events: category } };
}

async function find(user: TestUser, term: string, filter?: object, batch?: string): Promise<Found> {
  const url = batch === undefined ? PATH : `${PATH}?next_batch=${encodeURIComponent(batch)}`;
  const { body } = await user.http.post<{ search_categories: { room_events: Found } }>(url, requestBody(term, filter));
  return body.search_categories.room_events;
}

const textsOf = ({ results }: Found): string[] => results.map(({ result }) => result.content.body);

export function search({ describe, it, expect, world }: Suite): void {
  describe('/search', () => {
    it('finds messages that have all words, in joined rooms, the newest first', async () => {
      const [alice, bob] = await (await world()).newUsers();
      const [roomId, other] = [await alice.createRoom([bob]), await alice.createRoom()];
      const texts = ['green apple tree', 'an Apple', 'apples', 'a green pear', 'GREEN, apple!'];
      for (const text of texts) await alice.say(roomId, text);
      const hidden = await alice.say(other, 'green apple elsewhere');
      expect(textsOf(await find(bob, 'green apple'))).toEqual(['GREEN, apple!', 'green apple tree']);
      expect(textsOf(await find(bob, '"apple tree"'))).toEqual(['green apple tree']);
      expect(textsOf(await find(bob, 'green -apple'))).toEqual(['a green pear']);
      expect(textsOf(await find(bob, 'pear or tree'))).toEqual(['a green pear', 'green apple tree']);
      expect(textsOf(await find(bob, 'apples'))).toEqual(['GREEN, apple!', 'apples', 'an Apple', 'green apple tree']);
      const all = await find(alice, 'green apple');
      expect(all.results[0]?.result).toMatchObject({ event_id: hidden, room_id: other });
      expect(all.count).toBe(3);
      expect(all.highlights.toSorted()).toEqual(['apple', 'green']); // Synapse returns a set, in any order
      expect(textsOf(await find(alice, 'green apple', { rooms: [other] }))).toEqual(['green apple elsewhere']);
      expect(textsOf(await find(alice, 'nowhere'))).toEqual([]);
    });

    it('has a next_batch after a full page, and returns the senders’ profiles', async () => {
      const alice = await (await world()).newUser();
      const roomId = await alice.createRoom();
      for (const n of [1, 2, 3]) await alice.say(roomId, `needle ${n}`);
      const first = await find(alice, 'needle', { limit: 2 });
      expect(textsOf(first)).toEqual(['needle 3', 'needle 2']);
      expect(Object.keys(first.results[0]?.context.profile_info ?? {})).toEqual([alice.userId]);
      const rest = await find(alice, 'needle', { limit: 2 }, first.next_batch);
      expect(textsOf(rest)).toEqual(['needle 1']);
      expect(rest.next_batch).toBeUndefined();
      const invalid = await alice.http.post(`${PATH}?next_batch=invalid`, requestBody('needle'));
      expect(invalid.status).toBe(400);
    });

    it('finds no redacted message, nor one of a room that the user has left', async () => {
      const [alice, bob] = await (await world()).newUsers();
      const roomId = await alice.createRoom([bob]);
      const eventId = await alice.say(roomId, 'haystack one');
      await alice.say(roomId, 'haystack two');
      await alice.redact(roomId, eventId);
      expect(textsOf(await find(bob, 'haystack'))).toEqual(['haystack two']);
      await bob.leave(roomId);
      expect(textsOf(await find(bob, 'haystack'))).toEqual([]);
    });
  });
}
