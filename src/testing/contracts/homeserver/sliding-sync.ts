import type { EphemeralEvent, RawEvent } from './responses.js';
import type { JsonResponse, Json } from './raw-http.js';
import type { Suite } from './test-api.js';
import type { TestUser } from './test-user.js';
import { bodies } from './timelines.js';

interface SlidingRoom {
  readonly initial?: boolean;
  readonly required_state?: readonly RawEvent[];
  readonly timeline?: readonly RawEvent[];
  readonly limited?: boolean;
  readonly prev_batch?: string;
  readonly invite_state?: readonly RawEvent[];
  readonly joined_count?: number;
  readonly invited_count?: number;
  readonly heroes?: readonly Json[];
}

interface SlidingAnswer {
  readonly pos: string;
  readonly lists?: Readonly<Record<string, { readonly count: number }>>;
  readonly rooms: Readonly<Record<string, SlidingRoom>>;
  readonly extensions: {
    readonly account_data?: { readonly rooms: Readonly<Record<string, readonly EphemeralEvent[]>> };
    readonly receipts?: { readonly rooms: Readonly<Record<string, EphemeralEvent>> };
    readonly typing?: { readonly rooms: Readonly<Record<string, EphemeralEvent>> };
  };
}

const STATE = [
  ['m.room.create', ''],
  ['m.room.name', ''],
  ['m.room.power_levels', ''],
  ['org.test.own', '*'],
  ['m.room.member', '$LAZY'],
  ['m.room.member', '$ME'],
];
const NO_ROOMS = { room: { rooms: [] } };
const EXTENSIONS = { account_data: { enabled: true }, receipts: { enabled: true }, typing: { enabled: true } };

const wanted = (timelineLimit: number): Json => ({ required_state: STATE, timeline_limit: timelineLimit });
const list = (last: number, timelineLimit = 10): Json => ({ ranges: [[0, last]], ...wanted(timelineLimit) });

function request(user: TestUser, body: Json, pos?: string): Promise<JsonResponse<SlidingAnswer>> {
  const position = pos === undefined ? '' : `&pos=${encodeURIComponent(pos)}`;
  const url = `/_matrix/client/unstable/org.matrix.simplified_msc3575/sync?timeout=0${position}`;
  return user.http.post(url, { conn_id: 'contract', extensions: EXTENSIONS, ...body });
}

async function slide(user: TestUser, body: Json, pos?: string): Promise<SlidingAnswer> {
  const answer = await request(user, body, pos);
  if (answer.status !== 200) throw new Error(`sliding sync: ${answer.status} ${JSON.stringify(answer.body)}`);
  return answer.body;
}

const stateOf = (room: SlidingRoom | undefined): string[] =>
  room?.required_state?.map(({ type, state_key: key }) => `${type} ${key}`) ?? [];

const texts = (room: SlidingRoom | undefined): unknown[] => bodies(room?.timeline ?? []);

export function slidingSync({ describe, it, expect, world }: Suite): void {
  describe('simplified sliding sync (MSC4186)', () => {
    it('is among the unstable features that the homeserver names', async () => {
      const { body } = await (await world()).anonymous.get('/_matrix/client/versions');
      expect(body['unstable_features']).toMatchObject({ 'org.matrix.simplified_msc3575': true });
    });

    it('has the rooms of a window, those with the latest messages first', async () => {
      const [alice, bob] = await (await world()).newUsers();
      const rooms: string[] = [];
      for (const name of ['one', 'two', 'three']) rooms.push(await alice.createRoom([bob], { name }));
      const [one = '', , three = ''] = rooms;
      await alice.say(one, 'up');
      const answer = await slide(bob, { lists: { rooms: list(1) } });
      expect(answer.lists?.['rooms']?.count).toBe(3);
      expect(Object.keys(answer.rooms).toSorted()).toEqual([one, three].toSorted());
      expect(answer.rooms[one]?.initial).toBe(true);
    });

    it('returns the requested state after the timeline, with the members of the user and the senders', async () => {
      const [alice, bob, carol] = await (await world()).newUsers<[TestUser, TestUser, TestUser]>(3);
      const roomId = await alice.createRoom([bob, carol], { name: 'Old' });
      await alice.setState(roomId, 'org.test.own', { a: 1 }, 'key');
      await alice.setState(roomId, 'm.room.name', { name: 'New' });
      await alice.say(roomId, 'hello');
      const { rooms } = await slide(bob, { lists: { rooms: list(9, 1) } });
      const room = rooms[roomId];
      const state = stateOf(room);
      const members = [alice, bob].map(({ userId }) => `m.room.member ${userId}`);
      const others = ['m.room.create ', 'm.room.power_levels ', 'm.room.name ', 'org.test.own key'];
      expect(state.toSorted()).toEqual([...members, ...others].toSorted());
      expect(room?.required_state?.find(({ type }) => type === 'm.room.name')?.content).toEqual({ name: 'New' });
      expect(room).toMatchObject({ joined_count: 3, invited_count: 0 });
    });

    it('has the `prev_batch` of a timeline, and whether it is limited', async () => {
      const alice = await (await world()).newUser();
      const roomId = await alice.createRoom();
      for (const text of ['one', 'two', 'three']) await alice.say(roomId, text);
      const cut = (await slide(alice, { lists: { rooms: list(9, 2) } })).rooms[roomId];
      expect(texts(cut)).toEqual(['two', 'three']);
      expect(cut?.limited).toBe(true);
      const before = await alice.messages(roomId, { from: cut?.prev_batch ?? '', limit: 1 });
      expect(bodies(before.chunk)).toEqual(['one']);
      const whole = (await slide(alice, { lists: { rooms: list(9, 50) } })).rooms[roomId];
      expect(whole?.limited).toBe(false);
      expect(whole?.timeline?.[0]?.type).toBe('m.room.create');
      expect(texts(whole)).toEqual(['one', 'two', 'three']);
      const nothing = await alice.messages(roomId, { from: whole?.prev_batch ?? '', limit: 10 });
      expect(nothing.chunk).toEqual([]);
    });

    it('has the heroes of a room without a name', async () => {
      const [alice, bob] = await (await world()).newUsers();
      const roomId = await alice.createRoom([bob]);
      await bob.say(roomId, 'hello');
      const room = (await slide(bob, { lists: { rooms: list(9, 1) } })).rooms[roomId];
      expect(room?.heroes).toMatchObject([{ user_id: alice.userId }]);
      expect(stateOf(room)).not.toContain(`m.room.member ${alice.userId}`);
      const member = { required_state: [['m.room.member', alice.userId]], timeline_limit: 0 };
      const asked = (await slide(bob, { room_subscriptions: { [roomId]: member } })).rooms[roomId];
      expect(stateOf(asked)).toEqual([`m.room.member ${alice.userId}`]);
    });

    it('has invites with their stripped state, and lists them separately on request', async () => {
      const [alice, bob] = await (await world()).newUsers();
      const roomId = await alice.createRoom([], { name: 'Kitchen' });
      await alice.invite(roomId, bob.userId);
      const joined = await alice.createRoom([bob]);
      const invites = { ...list(99, 0), filters: { is_invite: true } };
      const answer = await slide(bob, { lists: { invites } });
      expect(Object.keys(answer.rooms)).toEqual([roomId]);
      const state = answer.rooms[roomId]?.invite_state;
      expect(state?.find(({ state_key: key }) => key === bob.userId)).toMatchObject({
        type: 'm.room.member',
        sender: alice.userId,
        content: { membership: 'invite' },
      });
      expect(state?.find(({ type }) => type === 'm.room.name')?.content).toEqual({ name: 'Kitchen' });
      expect(Object.keys((await slide(bob, { lists: { rooms: list(9) } })).rooms).toSorted()).toEqual(
        [roomId, joined].toSorted(),
      );
    });

    it('returns rooms by their ids, even old ones, and no rooms that the user is not in', async () => {
      const [alice, bob] = await (await world()).newUsers();
      const roomId = await alice.createRoom([bob]);
      await alice.say(roomId, 'hello');
      const other = await alice.createRoom();
      const { rooms } = await slide(bob, { room_subscriptions: { [roomId]: wanted(5), [other]: wanted(5) } });
      expect(Object.keys(rooms)).toEqual([roomId]);
      expect(rooms[roomId]?.initial).toBe(true);
      expect(texts(rooms[roomId])).toEqual(['hello']);
    });

    it('returns a whole room again when the connection starts again', async () => {
      const alice = await (await world()).newUser();
      const roomId = await alice.createRoom();
      await alice.say(roomId, 'hello');
      for (let i = 0; i < 2; i++) {
        const { rooms } = await slide(alice, { room_subscriptions: { [roomId]: wanted(5) } });
        expect(rooms[roomId]?.initial).toBe(true);
        expect(texts(rooms[roomId])).toEqual(['hello']);
      }
    });

    it('returns changes, and rooms that a larger window adds, for the last position', async () => {
      const [alice, bob] = await (await world()).newUsers();
      const older = await alice.createRoom([bob]);
      const newer = await alice.createRoom([bob]);
      const first = await slide(bob, { lists: { rooms: list(0) } });
      expect(Object.keys(first.rooms)).toEqual([newer]);
      await alice.say(newer, 'news');
      const second = await slide(bob, { lists: { rooms: list(1) } }, first.pos);
      expect(texts(second.rooms[newer])).toEqual(['news']);
      expect(second.rooms[newer]?.initial).toBeUndefined();
      expect(second.rooms[older]?.initial).toBe(true);
    });

    it('refuses an unknown position: 400 M_UNKNOWN_POS, and an invalid one: 400', async () => {
      const alice = await (await world()).newUser();
      await alice.createRoom();
      const body = { lists: { rooms: list(9) } };
      const first = await slide(alice, body);
      const unknown = await request(alice, body, first.pos.replace(/^\d+/, '999999'));
      expect(unknown).toMatchObject({ status: 400, body: { errcode: 'M_UNKNOWN_POS' } });
      expect((await request(alice, body, 'nonsense')).status).toBe(400);
    });

    it('has typing users, receipts for the timeline, and the user’s account data of the room', async () => {
      const [alice, bob] = await (await world()).newUsers();
      const roomId = await alice.createRoom([bob]);
      const old = await alice.say(roomId, 'old');
      await alice.sendReceipt(roomId, old);
      await bob.sendReceipt(roomId, old);
      await bob.say(roomId, 'new');
      await alice.setTyping(roomId, true, 60_000);
      const data = `/_matrix/client/v3/user/${encodeURIComponent(bob.userId)}/rooms/${encodeURIComponent(roomId)}/account_data/org.test`;
      await bob.http.put(data, { a: 1 });
      const { extensions } = await slide(bob, { lists: { rooms: list(9, 1) } });
      expect(extensions.typing?.rooms[roomId]?.content).toEqual({ user_ids: [alice.userId] });
      expect(extensions.account_data?.rooms[roomId]).toContainEqual({ type: 'org.test', content: { a: 1 } });
      const receipts = extensions.receipts?.rooms[roomId]?.content[old];
      expect(receipts).toMatchObject({ 'm.read': { [bob.userId]: {} } });
      expect(receipts).not.toMatchObject({ 'm.read': { [alice.userId]: {} } });
      const more = await slide(bob, { lists: { rooms: list(9, 2) } });
      expect(more.extensions.receipts?.rooms[roomId]?.content[old]).toMatchObject({
        'm.read': { [alice.userId]: {}, [bob.userId]: {} },
      });
    });

    it('works beside a /sync without rooms, which still has a next_batch', async () => {
      const [alice, bob] = await (await world()).newUsers();
      const roomId = await alice.createRoom([bob]);
      const invitedTo = await alice.createRoom();
      await alice.invite(invitedTo, bob.userId);
      await alice.say(roomId, 'before');
      const position = await bob.sync({ filter: NO_ROOMS });
      expect(position.rooms).toBeUndefined();
      await alice.say(roomId, 'between');
      const { rooms } = await slide(bob, { lists: { rooms: list(9, 2) } });
      expect(texts(rooms[roomId])).toEqual(['before', 'between']);
      const update = await bob.sync({ since: position.next_batch, timeout: 1 });
      expect(bodies(update.rooms?.join?.[roomId]?.timeline.events ?? [])).toEqual(['between']);
      expect(update.rooms?.invite).toBeUndefined();
    });
  });
}
