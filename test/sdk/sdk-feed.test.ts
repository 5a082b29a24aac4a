import { MatrixEvent, NotificationCountType, RoomEvent, RoomMemberEvent } from 'matrix-js-sdk';
import type { MatrixClient } from 'matrix-js-sdk';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { SyncStore } from '../../src/sdk/sync-store.js';
import { memoryStorage, MatrixClientManager } from '../../src/index.js';
import type { MatrixClientManagerOptions } from '../../src/index.js';
import { FakeHomeserver, ManualClock } from '../../src/testing/index.js';
import { advanceUntil } from '../support/advance-until.js';

const open: AsyncDisposable[] = [];
afterEach(async () => {
  for (const one of open.splice(0).toReversed()) await one[Symbol.asyncDispose]();
});

function setUp(options: Partial<MatrixClientManagerOptions> = {}) {
  const clock = new ManualClock();
  const fake = new FakeHomeserver({ clock });
  const make = (): MatrixClientManager => {
    const manager = new MatrixClientManager({ homeserverUrl: fake.baseUrl, fetch: fake.fetch, clock, ...options });
    open.push(manager);
    return manager;
  };
  open.push(fake);
  const manager = make();
  const alice = fake.createUser({ username: 'alice' });
  const bob = fake.createUser({ username: 'bob' });
  const roomId = fake.createRoom({ creator: alice.userId, members: [bob.userId] });
  const say = (...bodies: string[]): string[] => bodies.map((body) => fake.sendMessage(roomId, bob.userId, body));
  return { clock, fake, make, manager, alice, bob, roomId, say };
}

function bodies(client: MatrixClient | undefined, roomId: string): unknown[] {
  const events = client?.getRoom(roomId)?.getLiveTimeline().getEvents() ?? [];
  return events.filter((event) => event.getType() === 'm.room.message').map((event) => event.getContent().body);
}

describe.each([true, false])('the client that somebody looks at (slidingSync: %s)', (slidingSync) => {
  it('has the messages from before the start and after it, once and in order, and gets what follows', async () => {
    const { clock, manager, alice, roomId, say } = setUp({ slidingSync });
    say('one', 'two');
    await advanceUntil(clock, manager.startClient(alice));
    say('three');
    await clock.advance(100);
    const client = manager.getClient(alice.userId);
    expect(bodies(client, roomId)).toEqual(['one', 'two', 'three']);
    const live: unknown[] = [];
    client?.on(RoomEvent.Timeline, (event, _room, _toStart, _removed, { liveEvent }) => {
      live.push([event.getContent().body, liveEvent]);
    });
    say('four', 'five');
    await clock.advance(100);
    expect(live).toEqual([
      ['four', true],
      ['five', true],
    ]);
    expect(bodies(manager.getClient(alice.userId), roomId)).toEqual(['one', 'two', 'three', 'four', 'five']);
  });

  it('has it all in withClient too, for the first time or again', async () => {
    const { clock, manager, alice, roomId, say } = setUp({ slidingSync });
    say('one');
    const look = (): Promise<unknown[]> =>
      advanceUntil(
        clock,
        manager.withClient(alice.userId, (client) => bodies(client, roomId)),
      );
    await advanceUntil(clock, manager.startClient(alice));
    expect(await look()).toEqual(['one']);
    say('two');
    await clock.advance(100);
    expect(await look()).toEqual(['one', 'two']);
  });

  it('has edits and redactions applied, members as senders, and the state as it is now', async () => {
    const { clock, fake, manager, alice, bob, roomId, say } = setUp({ slidingSync });
    const [edited = '', redacted = ''] = say('wrong', 'secret');
    await advanceUntil(clock, manager.startClient(alice));
    const newContent = { msgtype: 'm.text', body: 'right' };
    const relation = { rel_type: 'm.replace', event_id: edited };
    const edit = { ...newContent, 'm.new_content': newContent, 'm.relates_to': relation };
    fake.sendMessage(roomId, bob.userId, edit);
    fake.redact(roomId, bob.userId, redacted);
    fake.sendState(roomId, alice.userId, 'm.room.name', { name: 'renamed' });
    await clock.advance(100);
    const room = manager.getClient(alice.userId)?.getRoom(roomId);
    await clock.advance(0); // the SDK takes a moment for edits, here as always
    expect(room?.findEventById(edited)?.getContent().body).toBe('right');
    expect(room?.findEventById(redacted)?.isRedacted()).toBe(true);
    expect(room?.findEventById(edited)?.sender?.userId).toBe(bob.userId);
    expect(room?.name).toBe('renamed');
    expect(room?.getJoinedMembers().map(({ userId }) => userId)).toEqual(
      expect.arrayContaining([alice.userId, bob.userId]),
    );
  });

  it('has the receipts, the unread counts and the push rules', async () => {
    const { clock, fake, manager, alice, bob, roomId, say } = setUp({ slidingSync });
    const [first = '', second = ''] = say('one', 'two');
    await advanceUntil(clock, manager.startClient(alice));
    fake.sendReceipt(roomId, bob.userId, first);
    await clock.advance(100);
    fake.sendReceipt(roomId, bob.userId, second);
    await clock.advance(100);
    const client = manager.getClient(alice.userId);
    const room = client?.getRoom(roomId);
    expect(room?.getEventReadUpTo(bob.userId)).toBe(second);
    expect(room?.getUnreadNotificationCount(NotificationCountType.Total)).toBe(2);
    expect(client?.pushRules?.global.override?.length).toBeGreaterThan(0);
    expect(client?.store.getAccountData('m.push_rules')).toBeInstanceOf(MatrixEvent);
  });

  it('tells of its members', async () => {
    const { clock, fake, manager, alice, bob, roomId } = setUp({ slidingSync });
    await advanceUntil(clock, manager.startClient(alice));
    const client = manager.getClient(alice.userId);
    const typing: string[] = [];
    client?.on(RoomMemberEvent.Typing, (_event, member) => void typing.push(member.userId));
    fake.setTyping(roomId, bob.userId, true);
    await clock.advance(100);
    expect(typing).toEqual([bob.userId]);
  });
});

it('somebody who looks while a sync is being processed misses nothing of it', async () => {
  const { clock, manager, alice, roomId, say } = setUp();
  await advanceUntil(clock, manager.startClient(alice));
  const seen: unknown[][] = [];
  manager.addCallback(alice.userId, () => void seen.push(bodies(manager.getClient(alice.userId), roomId)));
  say('one', 'two');
  await clock.advance(100);
  say('three');
  await clock.advance(100);
  expect(seen.at(-1)).toEqual(['one', 'two', 'three']);
  expect(bodies(manager.getClient(alice.userId), roomId)).toEqual(['one', 'two', 'three']);
});

it('messages go past the SDK until somebody looks, and whatever else there is does not', async () => {
  const { clock, fake, manager, alice, roomId, say } = setUp();
  await advanceUntil(clock, manager.startClient(alice));
  const processed = vi.spyOn(SyncStore.prototype, 'setSyncData');
  const responses = async (): Promise<number> => {
    await clock.advance(100);
    return processed.mock.calls.splice(0).length;
  };
  say('zero'); // brings its sender as well
  expect(await responses()).toBe(1);
  for (const body of ['one', 'two', 'three']) {
    say(body);
    expect(await responses()).toBe(0);
  }
  fake.sendState(roomId, alice.userId, 'm.room.topic', { topic: 'news' });
  expect(await responses()).toBe(1);
  say('four');
  expect(await responses()).toBe(0);
  expect(bodies(manager.getClient(alice.userId), roomId)).toEqual(['zero', 'one', 'two', 'three', 'four']);
  await responses();
  say('five');
  expect(await responses()).toBe(1);
  expect(bodies(manager.getClient(alice.userId), roomId)).toEqual(['zero', 'one', 'two', 'three', 'four', 'five']);
  processed.mockRestore();
});

it('push rules outlive a restart in which nobody looked', async () => {
  const { clock, make, manager, alice } = setUp({ storage: memoryStorage() });
  await advanceUntil(clock, manager.startClient(alice));
  await advanceUntil(clock, manager.shutdown());
  const next = make();
  await advanceUntil(clock, next.startClient(alice));
  const client = next.getClient(alice.userId);
  expect(client?.pushRules?.global.override?.length).toBeGreaterThan(0);
  expect(client?.store.getAccountData('m.push_rules')?.getContent()).toMatchObject({ global: {} });
});
