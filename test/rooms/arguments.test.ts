import { describe, expect, it } from 'vitest';
import type { Rooms } from '../../src/index.js';
import { MatrixClientManager } from '../../src/index.js';
import { rejection } from '../support/rejection.js';
import { roomsOnFake } from './rooms-on-fake.js';

const [userId, roomId, targetUserId] = ['@alice:hs.test', '!room:hs.test', '@bob:hs.test'];
const bad = (value: unknown) => value as never;
const megolm = 'm.megolm.v1.aes-sha2';

const invalid: Record<string, (rooms: Rooms) => Promise<unknown>> = {
  'create as nobody': (rooms) => rooms.create({}),
  'create as two': (rooms) => rooms.create({ userId, actor: 'admin' }),
  'create as another actor': (rooms) => rooms.create({ actor: bad('root') }),
  'create with an unknown option': (rooms) => rooms.create({ userId, topics: 'x' } as never),
  'create with a name that is none': (rooms) => rooms.create({ userId, name: bad(7) }),
  'create with ill-formed text': (rooms) => rooms.create({ userId, topic: '\ud800' }),
  'create with another preset': (rooms) => rooms.create({ userId, preset: bad('open') }),
  'create with an alias elsewhere': (rooms) => rooms.create({ userId, alias: '#a:elsewhere.test' }),
  'create with an alias of nothing': (rooms) => rooms.create({ userId, alias: '#:hs.test' }),
  'create with an alias without a server': (rooms) => rooms.create({ userId, alias: '#lobby' }),
  'create with an alias with a space': (rooms) => rooms.create({ userId, alias: 'a b' }),
  'create with levels that are none': (rooms) => rooms.create({ userId, powerLevels: { users: { [userId]: '100' } } }),
  'create with a level removed': (rooms) => rooms.create({ userId, powerLevels: { ban: null } }),
  'create with a list of levels': (rooms) => rooms.create({ userId, powerLevels: { users: [] } }),
  'create with state that is none': (rooms) => rooms.create({ userId, initialState: [bad({ type: 'a' })] }),
  'create with state of fractions': (rooms) =>
    rooms.create({ userId, initialState: [{ type: 'a', content: { b: 0.5 } }] }),
  'create with an unknown encryption': (rooms) =>
    rooms.create({ userId, initialState: [{ type: 'm.room.encryption', content: { algorithm: 'none' } }] }),
  'create neither encrypted nor not': (rooms) =>
    rooms.create({
      userId,
      encrypted: false,
      initialState: [{ type: 'm.room.encryption', content: { algorithm: megolm } }],
    }),
  'invite to no room': (rooms) => rooms.invite({ userId, roomId: 'room', targetUserId }),
  'join an alias of nothing': (rooms) => rooms.join({ userId, roomId: '#lobby' }),
  'join via a number': (rooms) => rooms.join({ userId, roomId, via: [bad(7)] }),
  'leave an alias': (rooms) => rooms.leave({ userId, roomId: '#a:hs.test' }),
  'forget with a reason': (rooms) => rooms.forget({ userId, roomId, reason: 'x' } as never),
  'members with too large a page': (rooms) => rooms.members({ userId, roomId, limit: 10_001 }),
  'members with another membership': (rooms) => rooms.members({ userId, roomId, membership: bad('friend') }),
  'ensureMember of no list': (rooms) => rooms.ensureMember({ roomId, userIds: bad('@a:hs.test') }),
  'ensureMember of nobody': (rooms) => rooms.ensureMember({ roomId } as never),
  'getState of no type': (rooms) => rooms.getState({ userId, roomId, type: '' }),
  'getState of a key alone': (rooms) => rooms.getState({ userId, roomId, stateKey: 'a' } as never),
  'getState of a path': (rooms) => rooms.getState({ userId, roomId, type: 'a', stateKey: '..' }),
  'setState of a path': (rooms) => rooms.setState({ userId, roomId, type: '..', content: {} }),
  'setState of nothing': (rooms) => rooms.setState({ userId, roomId, type: 'a', content: bad(undefined) }),
  'setState of an end of encryption': (rooms) =>
    rooms.setState({ userId, roomId, type: 'm.room.encryption', content: {} }),
  'setPowerLevels of text': (rooms) =>
    rooms.setPowerLevels({ userId, roomId, powerLevels: { users: { [userId]: '50' } } }),
  'resolveAlias of a room id': (rooms) => rooms.resolveAlias({ userId, alias: roomId }),
  'setAlias of no alias': (rooms) => rooms.setAlias({ userId, roomId, alias: 'lobby' }),
  'findOrCreateDirect with oneself': (rooms) => rooms.findOrCreateDirect({ userId, otherUserId: userId }),
  'findOrCreateDirect of the admin with itself': (rooms) =>
    rooms.findOrCreateDirect({ actor: 'admin', otherUserId: '@admin:hs.test' }),
  'upgrade to nothing': (rooms) => rooms.upgrade({ userId, roomId, version: '' }),
  'delete as a user': (rooms) => rooms.delete({ userId, roomId } as never),
  'delete without time': (rooms) => rooms.delete({ roomId, timeoutMs: 0 }),
  'no options': (rooms) => rooms.leave(bad(undefined)),
  'no options of ensureMember': (rooms) => rooms.ensureMember(bad(null)),
};

describe('a call of manager.rooms that cannot be right is refused before anything is sent', () => {
  it.each(Object.entries(invalid))('%s', async (_title, call) => {
    const { fake, rooms } = await roomsOnFake();
    const error = await rejection(call(rooms));
    expect(error).toMatchObject({ code: expect.toBeOneOf(['INVALID_OPTIONS', 'INVALID_USER_ID']) });
    expect(fake.requests).toEqual([]);
  });

  it('a cursor of another room, of other members, or altered', async () => {
    const { fake, rooms, alice, bob } = await roomsOnFake();
    const room = fake.createRoom({ creator: alice, members: [bob] });
    const { next = '' } = await rooms.members({ userId: alice, roomId: room, limit: 1 });
    fake.clearRequests();
    const calls = [
      () => rooms.members({ userId: alice, roomId, from: next }),
      () => rooms.members({ userId: alice, roomId: room, membership: 'invite', from: next }),
      () => rooms.members({ userId: alice, roomId: room, from: `${next}A` }),
      () => rooms.members({ userId: alice, roomId: room, from: bad(7) }),
    ];
    for (const call of calls) expect(await rejection(call())).toMatchObject({ code: 'INVALID_CURSOR' });
    expect(fake.requests).toEqual([]);
  });

  it('the admin in a manager without one, and every call after the shutdown', async () => {
    const { fake, manager } = await roomsOnFake();
    const without = new MatrixClientManager({ homeserverUrl: fake.baseUrl, fetch: fake.fetch });
    expect(await rejection(without.rooms.create({ actor: 'admin' }))).toMatchObject({ code: 'INVALID_OPTIONS' });
    expect(await rejection(without.rooms.delete({ roomId }))).toMatchObject({ code: 'INVALID_OPTIONS' });
    await without.shutdown();
    const { rooms } = manager;
    await manager.shutdown();
    expect(await rejection(rooms.leave({ userId, roomId }))).toMatchObject({ code: 'MANAGER_CLOSED' });
    expect(() => manager.rooms).toThrow(expect.objectContaining({ code: 'MANAGER_CLOSED' }) as Error);
    expect(fake.requests).toEqual([]);
  });
});
