import type { MatrixClient } from 'matrix-js-sdk';
import { expect, it } from 'vitest';
import { skipEmptySyncChanges } from '../../../src/sdk/crypto/sync-changes.js';
import { ManualClock } from '../../../src/testing/manual-clock.js';

const counts = { signed_curve25519: 50 };
const quiet = {
  toDeviceEvents: [],
  deviceLists: { changed: [], left: [] },
  oneTimeKeysCounts: counts,
  unusedFallbackKeys: ['signed_curve25519'],
};

/** The crypto library's class throws at what is no user id. */
class UserId {
  constructor(id: string) {
    if (!/^@.*:./.test(id)) throw new Error('invalid user id');
  }

  free(): void {}
}

function library({ fails = false } = {}) {
  const told: object[] = [];
  const crypto = {
    olmMachine: { userId: new UserId('@me:x') },
    processSyncChanges: async (changes: object): Promise<object[]> => {
      told.push(changes);
      if (fails) throw new Error('no');
      return [{}];
    },
  };
  const clock = new ManualClock();
  skipEmptySyncChanges({ getCrypto: () => crypto } as unknown as MatrixClient, clock);
  return { crypto, clock, told };
}

it('the crypto library hears of the first sync, of what has news for it, and of one a minute', async () => {
  const { crypto, clock, told } = library();
  const news = [
    quiet,
    { ...quiet, toDeviceEvents: [{ type: 'm.room.encrypted' }] },
    { ...quiet, deviceLists: { changed: ['@a:x'] } },
    { ...quiet, deviceLists: { left: ['@a:x'] } },
    { ...quiet, oneTimeKeysCounts: { signed_curve25519: 49 } },
    { ...quiet, unusedFallbackKeys: [] },
    { toDeviceEvents: [] },
    quiet,
  ];
  for (const changes of news) {
    const heard = told.length;
    expect(await crypto.processSyncChanges(changes)).toEqual([{}]);
    const { changed = [], left = [] } = (changes as Partial<typeof quiet>).deviceLists ?? {};
    expect(told.slice(heard)).toEqual([{ ...changes, deviceLists: { changed, left } }]);
  }
  expect(await crypto.processSyncChanges({ ...quiet, toDeviceEvents: [] })).toEqual([]);
  await clock.advance(59_999);
  expect(await crypto.processSyncChanges(quiet)).toEqual([]);
  await clock.advance(1);
  expect(await crypto.processSyncChanges(quiet)).toEqual([{}]);
});

it('the crypto library hears the same again where it has failed', async () => {
  const { crypto, told } = library({ fails: true });
  for (let n = 0; n < 2; n++) await expect(crypto.processSyncChanges(quiet)).rejects.toThrow('no');
  expect(told).toHaveLength(2);
});

it('the crypto library does not hear of users that it would throw at: room keys that come with them were lost', async () => {
  const { crypto, told } = library();
  const deviceLists = { changed: ['@a:x', 'constructor', ''], left: ['__proto__', '@b:x'] };
  await crypto.processSyncChanges({ ...quiet, deviceLists });
  expect(told).toEqual([{ ...quiet, deviceLists: { changed: ['@a:x'], left: ['@b:x'] } }]);
});
