import { describe, expect, it, vi } from 'vitest';
import type { ClientEvent } from '../../src/core/client-event.js';
import type { EventBatch, InviteBatch } from '../../src/core/ports/event-source.js';
import type { Decrypt, DeliveryOptions } from '../../src/delivery/delivery.js';
import { ManualClock } from '../../src/testing/manual-clock.js';
import { batch, event, join, late, Life, memoryStorage, missed, room, roomId, turn, userId } from './harness.js';

const storage = memoryStorage;
const first = batch(undefined, 's1', room(['old']));

/** What callbacks get of the batches. */
async function given(batches: readonly EventBatch[], options: Partial<DeliveryOptions> = {}): Promise<ClientEvent[]> {
  const got: ClientEvent[] = [];
  const dispatch = async (one: ClientEvent) => got.push(one) > 0;
  await (await Life.begin(storage(), { dispatch, ...options })).take(...batches);
  return got;
}

describe('typing notifications and receipts', () => {
  const typing = (...userIds: string[]) => ({ type: 'm.typing', content: { user_ids: userIds } });
  const receipt = { type: 'm.receipt', content: { $a: { 'm.read': { '@alice:x': { ts: 1 } } } } };
  const quiet = room([], { ephemeral: [typing('@alice:x'), receipt] });

  it('come as what their batch is', async () => {
    const provenances = async (one: EventBatch) =>
      (await given([one])).map(({ type, provenance }) => `${type} ${provenance}`);
    expect(await provenances(batch('s1', 's9', quiet))).toEqual(['typing live', 'receipt live']);
    expect(await provenances(missed(batch('s1', 's9', quiet)))).toEqual(['typing gap-fill', 'receipt gap-fill']);
    expect(await provenances(batch(undefined, 's9', quiet))).toEqual(['typing backlog', 'receipt backlog']);
    expect(await provenances(late('s9', quiet))).toEqual(['typing backlog', 'receipt backlog']);
  });

  it('tell of a typing list only where it has changed, and of every receipt', async () => {
    const again = { ephemeral: [typing('@alice:x'), receipt] };
    const got = await given([
      batch('s1', 's2', room([], again)),
      batch('s2', 's3', room([], again)),
      batch('s3', 's4', room([], { ephemeral: [typing(userId)] })),
    ]);
    expect(got.map((one) => (one.type === 'typing' ? one.userIds : one.type))).toEqual([
      ['@alice:x'],
      'receipt',
      'receipt',
      [],
    ]);
  });
});

describe('invitations', () => {
  const own = { type: 'm.room.member', sender: '@alice:x', state_key: userId, content: {}, origin_server_ts: 5 };
  const inviting =
    (...state: InviteBatch['state'][number][]) =>
    (since: string | undefined, next: string) => ({
      ...batch(since, next),
      invites: [{ roomId: '!new:x', provenance: 'live' as const, state }],
    });

  it('come as history with the first batch, and as news with others', async () => {
    const got = await given([inviting(own)(undefined, 's1'), inviting(own)('s1', 's2')]);
    expect(got.map(({ type, provenance }) => `${type} ${provenance}`)).toEqual(['invite backlog', 'invite live']);
  });

  it('that name nobody are passed over, and the position moves on', async () => {
    const kept = storage();
    await (await Life.begin(kept)).take(first, inviting()('s1', 's2'), batch('s2', 's3', room(['a'])));
    expect((await kept.loadCheckpoint(userId)).since).toBe('s3');
  });

  it('are journaled by inviter and time of the invitation, which is not that of the inviter coming in', async () => {
    const kept = storage();
    const life = await Life.begin(kept, { hold: ['slow'] });
    const others = [
      { ...own, type: 'm.room.name', state_key: '', origin_server_ts: 1 },
      { ...own, sender: '@carol:x', state_key: '@carol:x', origin_server_ts: 2 },
    ];
    const { invites } = inviting(...others, own)('s1', 's2');
    await life.take(first, { ...batch('s1', 's2', room(['slow'])), invites });
    const { journal, lastDelivered } = await kept.loadCheckpoint(userId);
    expect(journal).toEqual([{ roomId: '!new:x', eventId: 'invite @alice:x 5' }]);
    expect(lastDelivered.has('!new:x')).toBe(false);
  });
});

describe('encrypted events', () => {
  const sealed = (name: string) => event(name, { type: 'm.room.encrypted', content: { body: name } });

  it('are made readable before callbacks get them, the plain ones are not asked about', async () => {
    const clock = new ManualClock();
    const decrypt = vi.fn<Decrypt>(async (_room, raw) => ({ ...raw, content: { body: 'clear' } }));
    const life = await Life.begin(storage(), { decrypt, clock });
    await life.take(first, batch('s1', 's2', room(['plain', sealed('a')])));
    expect(life.dispatched).toEqual(['backlog old', 'live plain', 'live clear']);
    expect(decrypt.mock.calls).toEqual([[roomId, sealed('a'), 'live', clock.now(), expect.any(AbortSignal)]]);
    await life.take(batch('s2', 's3', room([sealed('a')])));
    expect(decrypt).toHaveBeenCalledTimes(1); // it was handled
  });

  it('come as they are where the client has no encryption', async () => {
    const life = await Life.begin(storage());
    await life.take(first, batch('s1', 's2', room([sealed('a')])));
    expect(life.dispatched).toEqual(['backlog old', 'live a']);
  });

  it('are not decrypted once more where the journal has them', async () => {
    const kept = storage();
    await (await Life.begin(kept, { hold: ['x'] })).take(first, batch('s1', 's2', room(['x', sealed('a')])));
    const decrypt = vi.fn<Decrypt>(async (_room, raw) => raw);
    const life = await Life.begin(kept, { decrypt });
    await life.take(batch('s1', 's2', room(['x', sealed('a')])));
    expect([life.dispatched, decrypt.mock.calls]).toEqual([['live x'], []]);
  });

  it('whose wait a stop ends hold the position back, and what comes behind them', async () => {
    const kept = storage();
    const life = await Life.begin(kept, { decrypt: async () => undefined });
    await life.take(first, batch('s1', 's2', room(['a', sealed('b'), 'c'])));
    expect(life.dispatched).toEqual(['backlog old', 'live a']);
    life.delivery.abort();
    await life.delivery.finish();
    const { since, lastDelivered } = await kept.loadCheckpoint(userId);
    expect([since, lastDelivered.get(roomId)]).toEqual(['s1', { eventId: '$a' }]);
  });
});

describe('rooms that end', () => {
  it('are told of where the homeserver does not count the user to them any more', async () => {
    const life = await Life.begin(storage());
    const gone = (id: string) => room([], { roomId: id, membership: 'leave', isGone: true });
    await life.take(first, batch('s1', 's2', gone(roomId), gone('!never:x')));
    const told = { userId, to: undefined, reason: 'gone' };
    expect(life.gaps).toEqual([
      { ...told, roomId, from: '$old' },
      { ...told, roomId: '!never:x', from: undefined },
    ]);
    await life.take(batch('s2', 's3', room(['x'], { membership: 'leave' })));
    expect(life.gaps).toHaveLength(2);
  });

  it('have no position in them that a return could begin from', async () => {
    const life = await Life.begin(storage(), { history: ['hidden', join('j')] });
    await life.take(first, batch('s1', 's2', room(['bye'], { membership: 'leave' })));
    await life.take(batch('s2', 's3', room(['hello'], { limited: true })));
    expect(life.dispatched).toEqual(['backlog old', 'live bye', 'gap-fill join', 'live hello']);
  });
});

describe('the own join', () => {
  const member = (content: object, change: object = {}) =>
    event('m', { type: 'm.room.member', state_key: userId, content: { body: 'm', ...content }, ...change });

  it.each([
    ['a join', member({ membership: 'join' }), 'backlog'],
    [
      'a join after a leave',
      member({ membership: 'join' }, { unsigned: { prev_content: { membership: 'leave' } } }),
      'backlog',
    ],
    ['a new name', member({ membership: 'join' }, { unsigned: { prev_content: { membership: 'join' } } }), 'live'],
    ['a leave', member({ membership: 'leave' }), 'live'],
    ['the join of another', member({ membership: 'join' }, { state_key: '@carol:x' }), 'live'],
    ['another event', member({ membership: 'join' }, { type: 'x.member' }), 'live'],
  ])('begins the news of a room that is new: %s', async (_what, raw, before) => {
    const life = await Life.begin(storage());
    await life.take(batch(undefined, 's1'), batch('s1', 's2', room(['before', raw, 'after'])));
    expect(life.dispatched).toEqual([`${before} before`, 'live m', 'live after']);
  });
});

it('a limited room with no timeline, or nowhere to read back from, goes on with what it has', async () => {
  const life = await Life.begin(storage(), { gapFillLimit: 0, history: ['m1', 'm2'] });
  await life.take(first, batch('s1', 's2', room(['a'], { limited: true, prevBatch: undefined })));
  expect([life.dispatched, life.requests]).toEqual([['backlog old', 'live a'], []]);
  await life.take(batch('s2', 's3', room([], { limited: true })));
  await turn();
  expect(life.gaps).toEqual([{ userId, roomId, from: '$a', to: undefined, reason: 'limit' }]);
});
