import { describe, expect, it } from 'vitest';
import { rejection } from '../support/rejection.js';
import { roomsOnFake } from './rooms-on-fake.js';

describe('the lost answer of a creation', () => {
  it('does not make a second room: the first one is found', async () => {
    const { fake, rooms, manager, soon, count, alice, bob } = await roomsOnFake();
    for (let n = 0; n < 20; n++) fake.createRoom({ creator: alice });
    fake.faults.dropAfter({ endpoint: '/createRoom', times: 1 });
    const { roomId } = await soon(rooms.create({ userId: alice, name: 'A', invite: [bob], encrypted: true }));
    expect(count('/createRoom')).toBe(1);
    expect(await rooms.getState({ userId: alice, roomId, type: 'm.room.name' })).toEqual({ name: 'A' });
    fake.faults.rewrite({ path: /m\.room\.encryption/ }, () => ({}));
    const sent = manager.sendMessage({ userId: alice, roomId, text: 'secret' });
    expect(await rejection(soon(sent))).toMatchObject({ code: 'ENCRYPTION_UNAVAILABLE' });
  });

  it('is an error if no room is there, or an incomplete one', async () => {
    const { fake, rooms, soon, count, alice, bob } = await roomsOnFake();
    const repair = fake.faults.status({ endpoint: '/createRoom' }, { status: 502 });
    const error = await rejection(soon(rooms.create({ userId: alice })));
    expect(error).toMatchObject({ code: 'HOMESERVER_UNAVAILABLE', status: 502, userId: alice });
    expect(error.message).toContain('may have been created');
    expect(count('/createRoom')).toBe(1);
    repair();
    fake.faults.dropAfter({ endpoint: '/createRoom', times: 1 });
    fake.faults.rewrite({ endpoint: '/rooms/{roomId}/state' }, (body) =>
      (body as { state_key: string }[]).filter(({ state_key: key }) => key !== bob),
    );
    expect(await rejection(soon(rooms.create({ userId: alice, invite: [bob] })))).toMatchObject({ code: 'NETWORK' });
    expect(count('/createRoom')).toBe(2);
  });

  it('is found, also if another room could not be read meanwhile', async () => {
    const { fake, rooms, soon, count, alice } = await roomsOnFake();
    const other = encodeURIComponent(fake.createRoom({ creator: alice }));
    fake.faults.dropAfter({ endpoint: '/createRoom', times: 1 });
    const readsOfOneLook = 4; // with the retries
    fake.faults.status({ path: new RegExp(`${other}/state/m.room.create`), times: readsOfOneLook }, { status: 500 });
    await soon(rooms.create({ userId: alice }));
    expect([count('/createRoom'), count('/joined_rooms')]).toEqual([1, 2]);
  });

  it('is not looked for after a refusal', async () => {
    const { rooms, count, alice } = await roomsOnFake();
    const error = await rejection(rooms.create({ userId: alice, roomVersion: 'none' }));
    expect(error).toMatchObject({ code: 'REJECTED', errcode: 'M_UNSUPPORTED_ROOM_VERSION' });
    expect(count('/joined_rooms')).toBe(0);
  });
});

describe('the lost answer of another call', () => {
  it('ends in the same room, members, alias and state', async () => {
    const { fake, rooms, soon, count, alice, bob } = await roomsOnFake();
    const { roomId } = await rooms.create({ userId: alice });
    const alias = '#lobby:hs.test';
    const lost = (path: RegExp, call: Promise<unknown>): Promise<unknown> => {
      fake.faults.dropAfter({ path, times: 1 });
      return soon(call);
    };
    const target = { userId: alice, roomId, targetUserId: bob };
    const topic = { userId: alice, roomId, type: 'm.room.topic', content: { topic: 'A' } };
    await lost(/invite/, rooms.invite(target));
    await lost(/join/, rooms.join({ userId: bob, roomId }));
    await lost(/kick/, rooms.kick(target));
    await lost(/leave/, rooms.leave({ userId: bob, roomId }));
    await lost(/directory/, rooms.setAlias({ userId: alice, roomId, alias }));
    await lost(/m\.room\.topic/, rooms.setState(topic));
    await lost(/directory/, rooms.removeAlias({ userId: alice, alias }));
    expect(count('/rooms/{roomId}/invite')).toBe(2);
    const changes = fake.events(roomId).filter(({ stateKey }) => stateKey === bob);
    expect(changes.map(({ content }) => content['membership'])).toEqual(['invite', 'join', 'leave']);
    expect(fake.events(roomId).filter(({ type }) => type === 'm.room.topic')).toHaveLength(1);
  });

  it('is the new room of an upgrade, of which there is one', async () => {
    const { fake, rooms, soon, count, alice } = await roomsOnFake();
    const { roomId } = await rooms.create({ userId: alice });
    fake.faults.dropAfter({ endpoint: '/rooms/{roomId}/upgrade', times: 1 });
    const upgraded = await soon(rooms.upgrade({ userId: alice, roomId, version: '12' }));
    const { replacement_room: replacement } = await rooms.getState({ userId: alice, roomId, type: 'm.room.tombstone' });
    expect([upgraded.roomId, count('/rooms/{roomId}/upgrade')]).toEqual([replacement, 1]);
  });

  it('is the new room of an upgrade that the homeserver finishes later', async () => {
    const { fake, rooms, soon, count, alice } = await roomsOnFake();
    const { roomId } = await rooms.create({ userId: alice });
    fake.faults.dropAfter({ endpoint: '/rooms/{roomId}/upgrade', times: 1 });
    const missing = { status: 404, body: { errcode: 'M_NOT_FOUND' } };
    fake.faults.status({ path: /m\.room\.tombstone/, times: 2 }, missing);
    const { roomId: replacement } = await soon(rooms.upgrade({ userId: alice, roomId, version: '12' }));
    const tombstone = await rooms.getState({ userId: alice, roomId, type: 'm.room.tombstone' });
    expect([replacement, count('/rooms/{roomId}/upgrade')]).toEqual([tombstone.replacement_room, 1]);
  });

  it('is the deletion that runs already, or has ended, so that all learn who was removed', async () => {
    const { fake, rooms, soon, count, alice } = await roomsOnFake();
    const endpoint = '/_synapse/admin/v2/rooms/{roomId}';
    const roomId = fake.createRoom({ creator: alice });
    fake.faults.dropAfter({ endpoint, times: 1 });
    expect(await soon(rooms.delete({ roomId }))).toMatchObject({ status: 'complete', kickedUsers: [alice] });
    expect(await rejection(rooms.getState({ userId: alice, roomId }))).toMatchObject({ code: 'FORBIDDEN' });
    expect(count(endpoint)).toBe(1);
  });

  it('is no earlier deletion', async () => {
    const { fake, rooms, soon, count, alice } = await roomsOnFake();
    const endpoint = '/_synapse/admin/v2/rooms/{roomId}';
    const roomId = fake.createRoom({ creator: alice, preset: 'public_chat' });
    await soon(rooms.delete({ roomId, purge: false }));
    fake.join(roomId, alice);
    fake.faults.status({ endpoint, times: 1 }, { status: 502 });
    expect(await soon(rooms.delete({ roomId }))).toMatchObject({ status: 'complete', kickedUsers: [alice] });
    expect(count(endpoint)).toBe(3);
  });
});
