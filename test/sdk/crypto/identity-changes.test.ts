import { CryptoEvent } from 'matrix-js-sdk/lib/crypto-api/index.js';
import { describe, expect, it } from 'vitest';
import type { CryptoBackend } from '../../../src/sdk/crypto/crypto-backend.js';
import { IdentityChanges } from '../../../src/sdk/crypto/identity-changes.js';
import { ManualClock } from '../../../src/testing/manual-clock.js';
import { MemoryLogger } from '../../../src/testing/memory-logger.js';

const [alice, bob] = ['@alice:x', '@bob:x'];
const trustChanged: string = CryptoEvent.UserTrustStatusChanged;
const HOUR_MS = 3_600_000;

interface Known {
  key: string;
  isPinned?: boolean;
  isViolated?: boolean;
}

/** What Bob's client reports while the homeserver shows identities. The first one of a user is pinned. */
async function setUp(before: Record<string, Known> = {}) {
  const clock = new ManualClock();
  const identities = new Map<string, Known>(Object.entries(before));
  let tell: (userId: string) => void = () => {};
  let held = 0;
  class UserId {
    readonly #id: string;
    constructor(id: string) {
      this.#id = id;
    }
    toString(): string {
      return this.#id;
    }
  }
  const olmMachine = {
    userId: new UserId(bob),
    getIdentity: async (id: UserId) => {
      const known = identities.get(id.toString());
      if (!known) return undefined;
      held++;
      return {
        masterKey: JSON.stringify({ keys: { [`ed25519:${known.key}`]: known.key }, signatures: {} }),
        hasVerificationViolation: () => known.isViolated ?? false,
        wasPreviouslyVerified: () => known.isViolated ?? false,
        ...(id.toString() !== bob && { identityNeedsUserApproval: () => known.isPinned === false }),
        free: () => held--,
      };
    },
  };
  const crypto = {
    olmMachine,
    on: (name: string, listener: (userId: string) => void) => {
      if (name === trustChanged) tell = listener;
    },
  };
  const created = new Set<string>();
  const own = {
    idle: async () => {},
    publishedMasterKey: undefined as string | undefined,
    hasCreated: (masterKey: string) => created.has(masterKey),
  };
  const reported: object[] = [];
  const changes = new IdentityChanges(
    { clock, logger: new MemoryLogger() },
    {
      crypto: crypto as unknown as CryptoBackend,
      identity: own,
      userId: bob,
      onChanged: (change) => void reported.push(change),
    },
  );
  await changes.start();
  const show = async (userId: string, identity: Known): Promise<void> => {
    identities.set(userId, identity);
    tell(userId);
    await clock.advance(0);
  };
  return { clock, own, created, reported, show, held: () => held };
}

describe('IdentityChanges', () => {
  it('reports nothing of an identity that is seen for the first time', async () => {
    const { reported, show } = await setUp();
    await show(alice, { key: 'A1', isPinned: true });
    await show(bob, { key: 'B1' });
    expect(reported).toEqual([]);
  });

  it('reports a changed identity once, however often it is told, and frees what it has read', async () => {
    const { clock, reported, show, held } = await setUp();
    for (let n = 0; n < 3; n++) {
      await show(alice, { key: 'A2', isPinned: false });
      await clock.advance(2 * HOUR_MS);
    }
    expect(reported).toEqual([{ userId: bob, changedUserId: alice, wasVerified: false }]);
    expect(held()).toBe(0);
  });

  it('says whether the user had verified the earlier keys', async () => {
    const { reported, show } = await setUp();
    await show(alice, { key: 'A2', isViolated: true });
    expect(reported).toEqual([{ userId: bob, changedUserId: alice, wasVerified: true }]);
  });

  it('reports a further change after an hour', async () => {
    const { clock, reported, show } = await setUp();
    await show(alice, { key: 'A2', isPinned: false });
    await clock.advance(HOUR_MS);
    await show(alice, { key: 'A3', isPinned: false });
    expect(reported).toHaveLength(2);
  });

  it('reports once an hour when a homeserver shows other keys in each response', async () => {
    const { clock, reported, show } = await setUp({ [bob]: { key: 'B1' } });
    for (let n = 0; n < 120; n++) {
      await show(alice, { key: `A${n}`, isPinned: false });
      await show(bob, { key: n % 2 === 0 ? 'forged' : 'B1' });
      await clock.advance(60_000);
    }
    expect(reported.filter((change) => 'changedUserId' in change && change.changedUserId === alice)).toHaveLength(2);
    expect(reported.filter((change) => 'changedUserId' in change && change.changedUserId === bob)).toHaveLength(2);
  });

  it('reports the keys of the user that were replaced while the client did not run', async () => {
    const { reported, show } = await setUp({ [bob]: { key: 'B1' } });
    await show(bob, { key: 'B2', isViolated: true });
    expect(reported).toEqual([{ userId: bob, changedUserId: bob, wasVerified: true }]);
  });

  it('does not report keys of the user that their own device has published', async () => {
    const { own, created, reported, show } = await setUp({ [bob]: { key: 'B1' } });
    own.idle = async () => void created.add((own.publishedMasterKey = 'B2'));
    await show(bob, { key: 'B2' });
    expect(reported).toEqual([]);
    await show(bob, { key: 'B1' });
    expect(reported).toHaveLength(1);
  });

  it('does not report the keys that come back after the homeserver has refused those of the own device', async () => {
    const { created, reported, show } = await setUp({ [bob]: { key: 'B1' } });
    created.add('B2');
    await show(bob, { key: 'B2' });
    await show(bob, { key: 'B1', isViolated: true });
    expect(reported).toEqual([]);
    await show(bob, { key: 'B3', isViolated: true });
    expect(reported).toHaveLength(1);
  });

  it('does not report the keys of another client that were published instead of the first own ones', async () => {
    const { created, reported, show } = await setUp();
    created.add('B1');
    await show(bob, { key: 'B1' });
    await show(bob, { key: 'B2' });
    expect(reported).toEqual([]);
  });
});
