import { describe, expect, it } from 'vitest';
import type { FakeHomeserver, FakeUser } from '../../src/testing/index.js';
import type { MatrixClientManager } from '../../src/index.js';
import { advanceUntil } from '../support/advance-until.js';
import { crowd } from './crowd.js';

interface Asked {
  readonly manager: MatrixClientManager;
  readonly fake: FakeHomeserver;
  readonly first: FakeUser;
  readonly roomId: string;
}

const calls: [string, string, (asked: Asked) => Promise<unknown>][] = [
  [
    'a message',
    '/rooms/{roomId}/send/{eventType}/{txnId}',
    ({ manager, first, roomId }) => manager.sendMessage({ userId: first.userId, roomId, text: 'hello' }),
  ],
  [
    'a typing notification',
    '/rooms/{roomId}/typing/{userId}',
    ({ manager, first, roomId }) => manager.sendTyping({ userId: first.userId, roomId, typing: true }),
  ],
  [
    'a read receipt',
    '/rooms/{roomId}/receipt/{receiptType}/{eventId}',
    ({ manager, fake, first, roomId }) =>
      manager.sendReadReceipt({ userId: first.userId, roomId, eventId: fake.events(roomId).at(-1)?.eventId ?? '' }),
  ],
  [
    'a page',
    '/rooms/{roomId}/messages',
    ({ manager, first, roomId }) => manager.getRoomMessages({ userId: first.userId, roomId, limit: 25 }),
  ],
  ['an admin call', '/_synapse/admin/v2/users/{userId}', ({ manager, first }) => manager.admin.getUser(first.userId)],
];

const wheres: [string, { header: boolean; body: boolean }][] = [
  ['header', { header: true, body: false }],
  ['body', { header: false, body: true }],
];

describe.each(calls)('the wait that the homeserver asks %s for', (_name, endpoint, call) => {
  it.each(wheres)('is kept when it stands in the %s', async (_where, where) => {
    const asked = await crowd(2);
    const { clock, fake } = asked;
    const times: number[] = [];
    fake.faults.rateLimit({ endpoint, times: 2 }, { retryAfterMs: 20_000, ...where });
    const work = call(asked);
    await advanceUntil(clock, work, { stepMs: 250 });
    for (const request of fake.requests) if (request.endpoint === endpoint) times.push(request.at);
    expect(times).toHaveLength(3);
    for (const [index, at] of times.slice(1).entries()) {
      expect(at - (times[index] ?? 0)).toBeGreaterThanOrEqual(20_000);
      expect(at - (times[index] ?? 0)).toBeLessThan(30_000);
    }
  });
});

describe('a sync that is rate limited', () => {
  it.each(wheres)('waits as long as the %s says, however long', async (_where, where) => {
    const { clock, fake, live } = await crowd(1);
    fake.faults.rateLimit({ endpoint: '/sync', times: 2 }, { retryAfterMs: 120_000, ...where });
    fake.restart();
    await clock.advance(400_000);
    const limited = fake.requests.filter(({ endpoint, status }) => endpoint === '/sync' && status === 429);
    expect(limited).toHaveLength(2);
    for (const { at } of limited) {
      const next = fake.requests.find((request) => request.endpoint === '/sync' && request.at > at);
      expect((next?.at ?? 0) - at).toBeGreaterThanOrEqual(120_000);
    }
    expect(live()).toBe(1);
  });
});

describe('a storm of 429', () => {
  it('is weathered by 30 clients: nobody asks before their time, and all are back after it', async () => {
    const { clock, fake, users, first, roomId, texts, states, live, manager } = await crowd(30);
    const calm = fake.faults.rateLimit({}, { retryAfterMs: 15_000 });
    fake.sendMessage(roomId, first.userId, 'before the storm'); // ends every poll
    await clock.advance(3_000);
    const calls = users.map(({ userId }) =>
      manager.sendTyping({ userId, roomId, typing: true }).catch(() => 'limited'),
    );
    await clock.advance(40_000);
    fake.sendMessage(roomId, first.userId, 'in the storm');
    calm();
    await clock.advance(30_000);
    await Promise.all(calls);
    const last = new Map<string, number>();
    for (const { userId, path, status, at } of fake.requests) {
      const key = `${userId} ${path}`;
      const limitedAt = last.get(key);
      if (limitedAt !== undefined) expect(at - limitedAt).toBeGreaterThanOrEqual(15_000);
      if (status === 429) last.set(key, at);
      else last.delete(key);
    }
    expect(last.size).toBe(0);
    expect(states).toEqual([]);
    expect(live()).toBe(30);
    for (const { userId } of users) expect(texts.get(userId)).toEqual(['before the storm', 'in the storm']);
  }, 60_000);
});
