import { expect, it } from 'vitest';
import { crowd } from './crowd.js';

it('a homeserver that repeats its position at once is asked less and less, and news are not lost', async () => {
  const { clock, fake, first, roomId, texts, requestsPerSecond, live } = await crowd(1);
  const mend = fake.faults.sameNextBatch({});
  fake.restart();
  await clock.advance(3_000);
  const counts = await requestsPerSecond(60);
  expect(Math.max(...counts)).toBeLessThanOrEqual(1);
  expect(counts.reduce((sum, count) => sum + count, 0)).toBeLessThanOrEqual(11);
  expect(live()).toBe(1);
  fake.sendMessage(roomId, first.userId, 'meanwhile');
  mend();
  await clock.advance(10_000);
  expect(texts.get(first.userId)).toEqual(['meanwhile']);
  fake.sendMessage(roomId, first.userId, 'at once');
  await clock.advance(0);
  expect(texts.get(first.userId)).toEqual(['meanwhile', 'at once']);
});

it('a long poll that ends without news is followed by the next one at once', async () => {
  const { clock, fake, first } = await crowd(1);
  await clock.advance(95_000);
  const polls = fake.requests.filter(({ endpoint, userId }) => endpoint === '/sync' && userId === first.userId);
  expect(fake.inFlight).toBe(1);
  for (const [index, { at }] of polls.slice(1).entries()) expect(at - (polls[index]?.at ?? 0)).toBeLessThan(31_000);
});
