import { describe, expect, it } from 'vitest';
import { rejection } from '../support/rejection.js';
import { roomsOnFake } from './rooms-on-fake.js';

/** A homeserver with Synapse's default rate limit of invitations: 10 at once, then 0.3 per second. */
async function withLimitedInvitations(users: number) {
  const [burst, perMs] = [10, 0.3 / 1_000];
  let [level, at] = [0, 0];
  const on = await roomsOnFake({
    fetch: async (input, init) => {
      const isInvitation = String(input instanceof Request ? input.url : input).endsWith('/invite');
      if (!isInvitation) return on.fake.fetch(input, init);
      const now = on.clock.now();
      [level, at] = [Math.max(0, level - (now - at) * perMs), now];
      if (level + 1 > burst) {
        const body = { errcode: 'M_LIMIT_EXCEEDED', retry_after_ms: Math.ceil((level + 1 - burst) / perMs) };
        return Response.json(body, { status: 429 });
      }
      level++;
      return on.fake.fetch(input, init);
    },
  });
  const { roomId } = await on.rooms.create({ userId: on.alice });
  const userIds: string[] = [];
  for (let n = 0; n < users; n++) userIds.push(await on.add(`u${n}`));
  const statuses = (results: readonly { status: string }[]): Record<string, number> =>
    Object.fromEntries(
      ['joined', 'already', 'failed'].map((is) => [is, results.filter((r) => r.status === is).length]),
    );
  return { ...on, roomId, userIds, statuses };
}

describe('ensureMember under a rate limit', () => {
  it('has all users in the room', async () => {
    const { rooms, alice, soon, roomId, userIds, statuses } = await withLimitedInvitations(150);
    const results = await soon(rooms.ensureMember({ roomId, userIds, by: alice }));
    expect(statuses(results)).toEqual({ joined: 150, already: 0, failed: 0 });
  });

  it('ends in time, and goes on in the next call', async () => {
    const { fake, rooms, clock, alice, soon, roomId, userIds, statuses } = await withLimitedInvitations(30);
    const start = clock.now();
    const results = await soon(rooms.ensureMember({ roomId, userIds, by: alice, timeoutMs: 10_000 }));
    expect(clock.now() - start).toBeLessThan(11_000);
    const failed = results.filter(({ status }) => status === 'failed');
    expect(failed.length).toBeGreaterThan(10);
    for (const { userId, error } of failed) expect(error).toMatchObject({ code: 'TIMEOUT', userId, roomId });
    const repair = fake.faults.hang({ endpoint: '/join/{roomIdOrAlias}' });
    const one = rooms.ensureMember({ roomId, userId: failed.at(-1)?.userId ?? '', by: alice, timeoutMs: 1_000 });
    expect(await rejection(soon(one))).toMatchObject({ code: 'TIMEOUT' });
    repair();
    const again = statuses(await soon(rooms.ensureMember({ roomId, userIds, by: alice })));
    expect(again).toEqual({ joined: failed.length, already: 30 - failed.length, failed: 0 });
    expect(clock.pendingTimers).toBe(0);
  });
});
