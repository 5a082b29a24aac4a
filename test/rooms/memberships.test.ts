import { describe, expect, it } from 'vitest';
import { rejection } from '../support/rejection.js';
import { roomsOnFake } from './rooms-on-fake.js';

/** Bob, who may do everything, has left a room in which carol is with `membership`. */
async function afterBobHasLeft(membership: 'join' | 'leave' | 'ban') {
  const on = await roomsOnFake();
  const { rooms, alice, bob, carol } = on;
  const { roomId } = await rooms.create({ userId: alice, powerLevels: { users: { [bob]: 100 } } });
  await rooms.ensureMember({ roomId, userIds: [bob, carol], by: alice });
  const target = { roomId, userId: alice, targetUserId: carol };
  if (membership !== 'join') await rooms.kick(target);
  await rooms.leave({ userId: bob, roomId });
  if (membership === 'leave') await rooms.ensureMember({ roomId, userId: carol, by: alice });
  if (membership === 'join') await rooms.kick(target);
  if (membership === 'ban') await rooms.ban(target);
  return { ...on, roomId, byBob: { ...target, userId: bob } };
}

describe('what a user reads who has left the room', () => {
  it('counts neither for the removal of a member nor for an invitation or unban', async () => {
    const returned = await afterBobHasLeft('leave');
    expect(await rejection(returned.rooms.kick(returned.byBob))).toMatchObject({ code: 'FORBIDDEN' });
    const removed = await afterBobHasLeft('join');
    expect(await rejection(removed.rooms.invite(removed.byBob))).toMatchObject({ code: 'FORBIDDEN' });
    const banned = await afterBobHasLeft('ban');
    expect(await rejection(banned.rooms.unban(banned.byBob))).toMatchObject({ code: 'FORBIDDEN' });
  });

  it('does not count for ensureMember, which rejects', async () => {
    const { rooms, add, roomId, alice, bob, carol } = await afterBobHasLeft('join');
    const one = rooms.ensureMember({ roomId, userId: carol, by: bob });
    expect(await rejection(one)).toMatchObject({ code: 'FORBIDDEN', roomId, userId: bob });
    const userIds = [alice, carol, await add('dave'), await add('erin')];
    const several = rooms.ensureMember({ roomId, userIds, by: bob });
    expect(await rejection(several)).toMatchObject({ code: 'FORBIDDEN', roomId, userId: bob });
  });
});

describe('leave', () => {
  it('is a success without a request that succeeds only if the user is not in the room', async () => {
    const { fake, rooms, alice, bob } = await roomsOnFake();
    const { roomId } = await rooms.create({ userId: alice });
    await rooms.leave({ userId: bob, roomId }); // never there
    fake.faults.status({ endpoint: '/rooms/{roomId}/leave' }, { status: 403, body: { errcode: 'M_FORBIDDEN' } });
    expect(await rejection(rooms.leave({ userId: alice, roomId }))).toMatchObject({ code: 'FORBIDDEN' });
    fake.leave(roomId, alice);
    await rooms.leave({ userId: alice, roomId });
  });
});

describe('knock', () => {
  it('is a success in a room in which the user is', async () => {
    const { rooms, alice, bob } = await roomsOnFake();
    const initialState = [{ type: 'm.room.join_rules', content: { join_rule: 'knock' } }];
    const { roomId } = await rooms.create({ userId: alice, alias: 'lobby', initialState });
    expect(await rooms.knock({ userId: alice, roomId })).toEqual({ roomId });
    expect(await rooms.knock({ userId: alice, roomId: '#lobby:hs.test' })).toEqual({ roomId });
    await rooms.ban({ userId: alice, roomId, targetUserId: bob });
    expect(await rejection(rooms.knock({ userId: bob, roomId }))).toMatchObject({ code: 'FORBIDDEN' });
  });
});
