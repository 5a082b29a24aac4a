import { CryptoEvent } from 'matrix-js-sdk/lib/crypto-api/index.js';
import { describe, expect, it } from 'vitest';
import { KEYS_QUERY } from '../../../src/sdk/crypto/crypto-backend.js';
import type { CryptoBackend } from '../../../src/sdk/crypto/crypto-backend.js';
import { IdentityChanges } from '../../../src/sdk/crypto/identity-changes.js';
import { ManualClock } from '../../../src/testing/manual-clock.js';
import { MemoryLogger } from '../../../src/testing/memory-logger.js';

const [alice, bob, carol] = ['@alice:x', '@bob:x', '@carol:x'];
const trustChanged: string = CryptoEvent.UserTrustStatusChanged;
const HOUR_MS = 3_600_000;
/** The record that says whether a first change may not be reported yet. */
const MARK = '["identities","unreported"]';

interface Known {
  key: string;
  /** Differs where only a signature of the key was added. */
  signature?: string;
  isPinned?: boolean;
  isViolated?: boolean;
}

class MemoryStore {
  readonly wasNew = false;
  readonly #records = new Map<string, Uint8Array>();
  isBroken = false;

  /** The record of reported identities. */
  get record(): Uint8Array | undefined {
    return this.#records.get('["identities"]');
  }

  set record(record: Uint8Array) {
    this.#records.set('["identities"]', record);
  }

  async readSideRecord(name: string): Promise<Uint8Array | undefined> {
    if (this.isBroken) throw new Error('the disk is broken');
    return this.#records.get(name);
  }

  async writeSideRecord(name: string, record: Uint8Array): Promise<void> {
    if (this.isBroken) throw new Error('the disk is broken');
    this.#records.set(name, record);
  }
}

/** What Bob's client reports while the homeserver shows identities. The first one of a user is pinned. */
async function setUp(
  before: Record<string, Known> = {},
  store = new MemoryStore(),
  clock = new ManualClock(),
  trackedUsers?: () => Promise<never>,
) {
  const identities = new Map<string, Known>(Object.entries(before));
  let tell: (userId: string) => void = () => {};
  let held = 0;
  const lookedAt: string[] = [];
  const unreadable = new Set<string>();
  const guarded: string[] = [];
  let answered: Record<string, Known> = {};
  class UserId {
    readonly #id: string;
    constructor(id: string) {
      this.#id = id;
      held++;
    }
    toString(): string {
      return this.#id;
    }
    free(): void {
      held--;
    }
  }
  const olmMachine = {
    get userId() {
      return new UserId(bob);
    },
    trackedUsers: trackedUsers ?? (async () => new Set([...identities.keys()].map((id) => new UserId(id)))),
    getIdentity: async (id: UserId) => {
      lookedAt.push(id.toString());
      if (unreadable.has(id.toString())) throw new Error('the library cannot read it');
      const known = identities.get(id.toString());
      if (!known) return undefined;
      held++;
      return {
        masterKey: JSON.stringify({
          keys: { [`ed25519:${known.key}`]: known.key },
          signatures: known.signature ?? {},
        }),
        hasVerificationViolation: () => known.isViolated ?? false,
        wasPreviouslyVerified: () => known.isViolated ?? false,
        ...(id.toString() !== bob && { identityNeedsUserApproval: () => known.isPinned === false }),
        free: () => held--,
      };
    },
    markRequestAsSent: async (): Promise<unknown> => {
      for (const [userId, identity] of Object.entries(answered)) identities.set(userId, identity);
      return true;
    },
  };
  const crypto = {
    olmMachine,
    on: (name: string, listener: (userId: string) => void) => {
      if (name === trustChanged) tell = listener;
    },
  };
  const own = { idle: async () => {}, publishedMasterKey: undefined as string | undefined };
  const ended = new AbortController();
  const reported: object[] = [];
  const changes = new IdentityChanges(
    { clock, logger: new MemoryLogger() },
    {
      crypto: crypto as unknown as CryptoBackend,
      run: (name, call) => {
        guarded.push(name);
        return call();
      },
      identity: own,
      store,
      userId: bob,
      ended: ended.signal,
      onChanged: (change) => void reported.push(change),
    },
  );
  await changes.start();
  await clock.advance(0);
  const show = async (userId: string, identity: Known): Promise<void> => {
    identities.set(userId, identity);
    tell(userId);
    await clock.advance(0);
  };
  /** The answer to a request for keys, which the crypto library stores. It tells of the changes later. */
  const answer = async (changed: Record<string, Known>, body = JSON.stringify({ master_keys: changed })) => {
    answered = changed;
    await crypto.olmMachine.markRequestAsSent(...(['id', KEYS_QUERY, body] as unknown as []));
  };
  /** The next start of the client, with what the crypto library has stored. */
  const restart = async (now: Record<string, Known> = {}) => {
    ended.abort();
    return setUp({ ...Object.fromEntries(identities), ...now }, store, clock);
  };
  const seen = { reported, lookedAt, guarded, held: () => held };
  return { changes, clock, ended, own, store, unreadable, show, answer, restart, ...seen };
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

  it('frees the id of a user whom the crypto library cannot read', async () => {
    const { unreadable, show, held } = await setUp();
    unreadable.add(alice);
    await show(alice, { key: 'A2', isPinned: false });
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
    for (let n = 0; n < 119; n++) {
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
    const { changes, own, reported, show } = await setUp({ [bob]: { key: 'B1' } });
    own.idle = () => changes.noteCreated((own.publishedMasterKey = 'B2'));
    await show(bob, { key: 'B2' });
    expect(reported).toEqual([]);
    await show(bob, { key: 'B1' });
    expect(reported).toHaveLength(1);
  });

  it('does not report the keys that come back after the homeserver has refused those of the own device', async () => {
    const { changes, reported, show } = await setUp({ [bob]: { key: 'B1' } });
    await changes.noteCreated('B2');
    await show(bob, { key: 'B2' });
    await show(bob, { key: 'B1', isViolated: true });
    expect(reported).toEqual([]);
    await show(bob, { key: 'B3', isViolated: true });
    expect(reported).toHaveLength(1);
  });

  it('does not report the keys of another client that were published instead of the first own ones', async () => {
    const { changes, reported, show } = await setUp();
    await changes.noteCreated('B1');
    await show(bob, { key: 'B1' });
    await show(bob, { key: 'B2' });
    expect(reported).toEqual([]);
  });

  it.each([alice, bob])('reports a second change within an hour when the hour is over (of %s)', async (userId) => {
    const { clock, reported, show } = await setUp({ [bob]: { key: 'B1' } });
    await show(userId, { key: 'K2', isViolated: true });
    await clock.advance(60_000);
    await show(userId, { key: 'K3', isViolated: true });
    await clock.advance(HOUR_MS - 60_001);
    expect(reported).toHaveLength(1);
    await clock.advance(1);
    expect(reported).toHaveLength(2);
    await clock.advance(2 * HOUR_MS);
    expect(reported).toHaveLength(2);
  });

  it('reports of many changes within an hour only the last, and none that was undone', async () => {
    const { clock, reported, show } = await setUp({ [bob]: { key: 'B1' } });
    for (const key of ['B2', 'B3', 'B4', 'B2']) await show(bob, { key, isViolated: true });
    for (const key of ['A2', 'A3', 'A4']) await show(alice, { key, isViolated: true });
    await clock.advance(HOUR_MS);
    expect(reported.map((change) => (change as { changedUserId: string }).changedUserId)).toEqual([bob, alice, alice]);
  });

  it('reports a second change within an hour also if the client was stopped meanwhile, once', async () => {
    const { restart, show } = await setUp();
    await show(alice, { key: 'A2', isPinned: false });
    await show(alice, { key: 'A3', isPinned: false });
    const next = await restart();
    expect(next.reported).toEqual([]);
    await next.clock.advance(HOUR_MS);
    expect(next.reported).toEqual([{ userId: bob, changedUserId: alice, wasVerified: false }]);
    expect((await next.restart()).reported).toEqual([]);
  });

  it('does not report a change again after a restart when only a signature of the key differs', async () => {
    const { clock, restart, show } = await setUp();
    await show(alice, { key: 'A2', isPinned: false });
    await clock.advance(2 * HOUR_MS);
    const next = await restart();
    await next.show(alice, { key: 'A2', isPinned: false, signature: 'more' });
    await next.clock.advance(2 * HOUR_MS);
    expect(next.reported).toEqual([]);
  });

  it('reports a change of the user that the crypto library has stored, but the last run could not report', async () => {
    const { restart } = await setUp({ [bob]: { key: 'B1' } });
    const next = await restart({ [bob]: { key: 'B2', isViolated: true } });
    expect(next.reported).toEqual([{ userId: bob, changedUserId: bob, wasVerified: true }]);
    expect((await next.restart()).reported).toEqual([]);
  });

  it('reports the first change of another user that an earlier release has stored, and could not report', async () => {
    const first = await setUp({ [bob]: { key: 'B1' }, [alice]: { key: 'A2', isPinned: false } });
    expect(first.reported).toEqual([{ userId: bob, changedUserId: alice, wasVerified: false }]);
    expect(first.held()).toBe(0);
    expect((await first.restart()).reported).toEqual([]);
  });

  it.each(['', '{', 'null', '[]', '0', 'true'])('looks at all users if the mark is %j', async (mark) => {
    const world = await setUp({ [bob]: { key: 'B1' }, [alice]: { key: 'A1' } });
    await world.store.writeSideRecord(MARK, Buffer.from(mark));
    const next = await world.restart({ [alice]: { key: 'A2', isPinned: false } });
    expect(next.reported).toHaveLength(1);
  });

  it('reports a first change that the crypto library has stored and does not tell of, and then needs no look at a start', async () => {
    const world = await setUp({ [bob]: { key: 'B1' }, [alice]: { key: 'A1' }, [carol]: { key: 'C1' } });
    await world.answer({ [alice]: { key: 'A2', isPinned: false } });
    await world.clock.advance(0);
    expect(world.reported).toEqual([{ userId: bob, changedUserId: alice, wasVerified: false }]);
    const next = await world.restart();
    expect(next.lookedAt.toSorted()).toEqual([alice, bob]);
    expect(next.reported).toEqual([]);
  });

  it('looks at all users at a start after a client that has ended before it could look', async () => {
    const world = await setUp({ [bob]: { key: 'B1' }, [alice]: { key: 'A1' }, [carol]: { key: 'C1' } });
    const answered = world.answer({ [alice]: { key: 'A2', isPinned: false } });
    world.ended.abort();
    await answered;
    await world.clock.advance(0);
    expect(world.reported).toEqual([]);
    const next = await world.restart();
    expect(next.reported).toEqual([{ userId: bob, changedUserId: alice, wasVerified: false }]);
    expect((await next.restart()).lookedAt.toSorted()).toEqual([alice, bob]);
  });

  it('looks again after the next answer, and at the next start, at a user who could not be looked at', async () => {
    const world = await setUp({ [bob]: { key: 'B1' }, [alice]: { key: 'A1' }, [carol]: { key: 'C1' } });
    world.unreadable.add(alice);
    await world.answer({ [alice]: { key: 'A2', isPinned: false }, [carol]: { key: 'C1' } });
    await world.clock.advance(0);
    const second = await world.restart();
    expect(second.reported).toHaveLength(1);

    second.unreadable.add(carol);
    await second.answer({ [carol]: { key: 'C2', isPinned: false } });
    await second.clock.advance(0);
    second.unreadable.clear();
    await second.answer({});
    await second.clock.advance(0);
    expect(second.reported).toHaveLength(2);
    expect((await second.restart()).lookedAt.toSorted()).toEqual([alice, bob, carol]);
  });

  it('looks again at the next start if the crypto library could not say who the users are', async () => {
    const store = new MemoryStore();
    const identities = { [bob]: { key: 'B1' }, [alice]: { key: 'A2', isPinned: false } };
    const first = await setUp(identities, store, new ManualClock(), () => Promise.reject(new Error('not now')));
    await first.answer({});
    await first.clock.advance(0);
    expect(first.reported).toEqual([]);
    expect((await first.restart()).reported).toHaveLength(1);
  });

  it('does not report a user whose keys stayed, but whom only earlier keys of the own user have verified', async () => {
    const world = await setUp({ [bob]: { key: 'B1' }, [alice]: { key: 'A1', isViolated: true } });
    await world.answer({ [alice]: { key: 'A1', isViolated: true } });
    await world.clock.advance(0);
    expect(world.reported).toEqual([]);
    expect(world.lookedAt).toContain(alice);
  });

  it.each(['', '{', 'null', '[]', '{"master_keys":1}', '{"master_keys":{"__proto__":{},"":{},"@x":null}}'])(
    'passes the answer %j on',
    async (body) => {
      const world = await setUp({ [bob]: { key: 'B1' } });
      await world.answer({}, body);
      await world.clock.advance(0);
      expect(world.held()).toBe(0);
      expect((await world.restart()).lookedAt).toEqual([bob]);
    },
  );

  it('limits the time for the mark as for a call of the crypto library', async () => {
    const world = await setUp({ [bob]: { key: 'B1' } });
    await world.answer({});
    expect(world.guarded).toEqual(['markRequestAsSent']);
  });

  it('does not report after a restart the keys that the own device has created before it', async () => {
    const { changes, restart } = await setUp({ [bob]: { key: 'B1' } });
    await changes.noteCreated('B2');
    const next = await restart({ [bob]: { key: 'B2' } });
    await next.show(bob, { key: 'B1' });
    expect(next.reported).toEqual([]);
  });

  it('reports within an hour of a report that a clock shows in the future', async () => {
    const { store, show, restart } = await setUp();
    await show(alice, { key: 'A2', isPinned: false });
    const record = Buffer.from(store.record ?? []).toString();
    store.record = Buffer.from(record.replace(/"A2",\d+/, '"A2",9e15'));
    const next = await restart();
    await next.show(alice, { key: 'A3', isPinned: false });
    expect(next.reported).toHaveLength(1);
  });

  it.each(['', '{', 'null', '[]', '{"users":1,"created":{}}', '{"users":[null,[1,2],["@a:x"],["@b:x","k","now"]]}'])(
    'works with the damaged record %s',
    async (record) => {
      const store = new MemoryStore();
      store.record = Buffer.from(record);
      const { reported, show } = await setUp({ [bob]: { key: 'B1' } }, store);
      await show(bob, { key: 'B2' });
      await show(alice, { key: 'A2', isPinned: false });
      expect(reported).toHaveLength(2);
    },
  );

  it('reports with a store that fails, and is not kept from publishing keys by it', async () => {
    const store = new MemoryStore();
    store.isBroken = true;
    const { changes, reported, show } = await setUp({ [bob]: { key: 'B1' } }, store);
    await changes.noteCreated('B2');
    await show(bob, { key: 'B2' });
    await show(alice, { key: 'A2', isPinned: false });
    expect(reported).toHaveLength(1);
  });

  it('keeps the identity of the user, however many others have changed', async () => {
    const { clock, reported, show, restart } = await setUp({ [bob]: { key: 'B1' } });
    for (let n = 0; n < 1_100; n++) await show(`@user${n}:x`, { key: 'K2', isPinned: false });
    expect(reported).toHaveLength(1_100);
    await clock.advance(HOUR_MS);
    const next = await restart({ [bob]: { key: 'B2' } });
    expect(next.reported).toHaveLength(1);
  });

  it('reports nothing after the client has ended', async () => {
    const { clock, ended, reported, show } = await setUp();
    await show(alice, { key: 'A2', isPinned: false });
    await show(alice, { key: 'A3', isPinned: false });
    ended.abort();
    await clock.advance(2 * HOUR_MS);
    expect(reported).toHaveLength(1);
  });
});
