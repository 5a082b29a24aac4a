import { EventEmitter } from 'eventemitter3';
import { ClientEvent } from 'matrix-js-sdk';
import type { MatrixClient } from 'matrix-js-sdk';
import { CryptoEvent } from 'matrix-js-sdk/lib/crypto-api/index.js';
import { describe, expect, it, onTestFinished } from 'vitest';
import { maintainIdentity } from '../../../src/sdk/crypto/identity-upkeep.js';
import { ManualClock } from '../../../src/testing/manual-clock.js';

const bob = '@bob:x';
const HOUR_MS = 3_600_000;

/** An upkeep whose set-ups end as `outcome` says. */
async function setUp() {
  const clock = new ManualClock();
  const ended = new AbortController();
  const client = Object.assign(new EventEmitter(), { getUserId: () => bob });
  const state = { outcome: true, hasLostKeys: false, isOtherStorage: false, duringSetUp: () => {} };
  const attempts: number[] = [];
  const identity = {
    setUp: async () => {
      attempts.push(clock.now());
      state.duringSetUp();
      return state.outcome;
    },
    hasLostKeys: async () => state.hasLostKeys,
    isOtherStorage: async () => state.isOtherStorage,
  };
  const options = { identity, matrixClient: client as unknown as MatrixClient, signal: ended.signal };
  const kept = maintainIdentity(clock, { ...options, onAttempt: () => {} });
  onTestFinished(async () => {
    ended.abort();
    await kept;
    expect([clock.pendingTimers, client.eventNames()]).toEqual([0, []]);
  });
  await clock.advance(0);
  const accountData = { getType: () => 'm.secret_storage.default_key', getContent: () => ({ key: 'new' }) };
  const tell = {
    'the backup is gone': () => client.emit(CryptoEvent.KeyBackupFailed, 'M_NOT_FOUND'),
    'the keys have changed': () => {
      state.hasLostKeys = true;
      client.emit(CryptoEvent.KeysChanged, {});
    },
    'the own devices have changed': () => {
      state.hasLostKeys = true;
      client.emit(CryptoEvent.DevicesUpdated, ['@alice:x', bob]);
    },
    'the secret storage has changed': () => {
      state.isOtherStorage = true;
      client.emit(ClientEvent.AccountData, accountData);
    },
  };
  return { clock, client, state, attempts, tell };
}

describe('maintainIdentity', () => {
  it.each([
    'the backup is gone',
    'the keys have changed',
    'the own devices have changed',
    'the secret storage has changed',
  ] as const)('sets up again within seconds when %s', async (change) => {
    const { clock, attempts, tell } = await setUp();
    await clock.advance(HOUR_MS);
    expect(attempts).toHaveLength(1);
    tell[change]();
    await clock.advance(5_000);
    expect(attempts).toHaveLength(2);
  });

  it('does not set up again for what the last set-up has seen', async () => {
    const { clock, client, state, attempts, tell } = await setUp();
    tell['the keys have changed']();
    await clock.advance(5_000);
    Object.assign(state, { hasLostKeys: false });
    client.emit(CryptoEvent.KeysChanged, {});
    client.emit(CryptoEvent.DevicesUpdated, [bob]);
    client.emit(CryptoEvent.DevicesUpdated, ['@alice:x']);
    await clock.advance(HOUR_MS);
    expect(attempts).toHaveLength(2);
  });

  it('does not wait for the next retry when something has changed', async () => {
    const { clock, state, attempts, tell } = await setUp();
    state.outcome = false;
    tell['the keys have changed']();
    await clock.advance(5_000);
    await clock.advance(6 * HOUR_MS); // the retries are an hour apart by now
    const before = attempts.length;
    tell['the secret storage has changed']();
    await clock.advance(5_000);
    expect(attempts).toHaveLength(before + 1);
    await clock.advance(60_000);
    expect(attempts).toHaveLength(before + 2);
  });

  it('notices during a set-up that the backup is gone', async () => {
    const { clock, state, attempts, tell } = await setUp();
    state.duringSetUp = () => {
      state.duringSetUp = () => {};
      tell['the backup is gone']();
    };
    tell['the keys have changed']();
    await clock.advance(5_000);
    expect(attempts).toHaveLength(2);
    await clock.advance(10_000);
    expect(attempts).toHaveLength(3);
  });

  it.each(['the backup is gone', 'the keys have changed', 'the secret storage has changed'] as const)(
    'sets up ever more seldom when each response says that %s',
    async (change) => {
      const { clock, attempts, tell } = await setUp();
      for (let minute = 0; minute < 24 * 60; minute++) {
        tell[change]();
        await clock.advance(60_000);
      }
      expect(attempts.length).toBeLessThan(60);
      await clock.advance(3 * HOUR_MS);
      const last = attempts.length;
      tell[change](); // after quiet hours it is quick again
      await clock.advance(5_000);
      expect(attempts.length).toBe(last + 1);
    },
  );
});
