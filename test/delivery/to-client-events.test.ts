import { describe, expect, it } from 'vitest';
import { decryption } from '../../src/core/decryption.js';
import type { InviteBatch } from '../../src/core/ports/event-source.js';
import type { RawEvent } from '../../src/core/raw-event.js';
import { toDeliveredEvent, toEphemeralEvents, toInvite } from '../../src/delivery/to-client-events.js';
import { event, room, roomId, userId } from './harness.js';

const timeline = (raw: RawEvent) => toDeliveredEvent(userId, roomId, raw, 'live', () => undefined);
const ephemeral = (type: string, content: Record<string, unknown>) =>
  toEphemeralEvents(userId, room([], { ephemeral: [{ type, content }] }), 'live');

describe('a timeline event', () => {
  it('has what every event has', () => {
    expect(timeline(event('a'))).toEqual({
      type: 'message',
      userId,
      roomId,
      provenance: 'live',
      eventId: '$a',
      sender: '@alice:x',
      timestamp: 1,
      content: { body: 'a' },
      text: 'a',
      eventType: 'm.room.message',
      encrypted: false,
    });
  });

  it('has a transaction id where the user has sent it, and nobody else', () => {
    const unsigned = { transaction_id: 'txn' };
    expect(timeline(event('a', { sender: userId, unsigned }))).toMatchObject({ transactionId: 'txn' });
    expect(timeline(event('a', { unsigned }))).not.toHaveProperty('transactionId');
    const damaged = { transaction_id: 7 } as never;
    expect(timeline(event('a', { sender: userId, unsigned: damaged }))).not.toHaveProperty('transactionId');
  });

  it('is a membership, with leave for one that names none', () => {
    const member = (content: Record<string, unknown>) =>
      timeline(event('a', { type: 'm.room.member', state_key: '@bob:x', content }));
    expect(member({ membership: 'ban' })).toMatchObject({ type: 'membership', stateKey: '@bob:x', membership: 'ban' });
    expect(member({ membership: 7 })).toMatchObject({ membership: 'leave' });
  });

  it('is state where it has a state key, the empty one too', () => {
    const raw = event('a', { type: 'm.room.topic', state_key: '', content: { topic: 'tea' } });
    expect(timeline(raw)).toMatchObject({ type: 'state', stateKey: '', eventType: 'm.room.topic' });
  });

  it('is a redaction, of what its content or the event itself names', () => {
    const redaction = (change: object) => timeline(event('a', { type: 'm.room.redaction', content: {}, ...change }));
    expect(redaction({ content: { redacts: '$x' } })).toMatchObject({ type: 'redaction', redacts: '$x' });
    expect(redaction({ redacts: '$y' })).toMatchObject({ redacts: '$y' });
    expect(redaction({ redacts: 7 })).toMatchObject({ type: 'redaction', redacts: undefined });
  });

  it('is a reaction, of which damaged parts are undefined', () => {
    const reaction = (relation: unknown) =>
      timeline(event('a', { type: 'm.reaction', content: { 'm.relates_to': relation } }));
    expect(reaction({ event_id: '$x', key: '+1' })).toMatchObject({ type: 'reaction', relatesTo: '$x', key: '+1' });
    expect(reaction({ event_id: 7, key: 7 })).toMatchObject({ relatesTo: undefined, key: undefined });
    for (const damaged of [null, 'text', undefined]) {
      expect(reaction(damaged)).toMatchObject({ type: 'reaction', relatesTo: undefined, key: undefined });
    }
  });
});

describe('ephemeral events', () => {
  it('say who types, without what is no user id', () => {
    expect(ephemeral('m.typing', { user_ids: ['@a:x', 7, '@b:x'] })).toEqual([
      { type: 'typing', userId, roomId, provenance: 'live', userIds: ['@a:x', '@b:x'] },
    ]);
    expect(ephemeral('m.typing', { user_ids: '@a:x' })).toEqual([]);
    expect(ephemeral('org.example.other', { user_ids: ['@a:x'] })).toEqual([]);
  });

  it('are receipts, one per event, kind and user; a damaged part costs only itself', () => {
    const content = {
      $a: {
        'm.read': { '@a:x': { ts: 5, thread_id: 'main' }, '@b:x': { ts: 'then', thread_id: 7 }, '@c:x': null },
        'm.read.private': 'damaged',
      },
      $b: null,
    };
    const common = { type: 'receipt', userId, roomId, provenance: 'live', eventId: '$a', receiptType: 'm.read' };
    expect(ephemeral('m.receipt', content)).toEqual([
      { ...common, sender: '@a:x', timestamp: 5, threadId: 'main' },
      { ...common, sender: '@b:x', timestamp: 0 },
    ]);
  });
});

describe('an invitation', () => {
  const invite = (...state: RawEvent[]) => toInvite(userId, { roomId, state: state as InviteBatch['state'] }, 'live');
  const own = (content: Record<string, unknown> = {}): RawEvent =>
    event('i', { type: 'm.room.member', state_key: userId, content: { membership: 'invite', ...content } });
  const name = (value: unknown): RawEvent =>
    event('n', { type: 'm.room.name', state_key: '', content: { name: value } });

  it('says who invites, to which room, and whether to a direct chat', () => {
    expect(invite(name('Tea'), own({ is_direct: true }))).toEqual({
      type: 'invite',
      userId,
      roomId,
      provenance: 'live',
      sender: '@alice:x',
      roomName: 'Tea',
      isDirect: true,
    });
    expect(invite(own({ is_direct: 'yes' }), name(7))).toMatchObject({ roomName: undefined, isDirect: false });
    expect(invite(own())).toMatchObject({ roomName: undefined, isDirect: false });
  });

  it('is none without the own membership', () => {
    const other = event('i', { type: 'm.room.member', state_key: '@other:x' });
    const notMember = event('t', { type: 'm.room.topic', state_key: userId });
    expect(invite(name('Tea'), other, notMember)).toBeUndefined();
  });
});

describe('what became of an event before it came', () => {
  it('says who took it back, and nothing where nobody did', () => {
    const redaction = event('r', { type: 'm.room.redaction', sender: '@mod:x', content: { reason: 'spam' } });
    const redacted = { eventId: '$r', sender: '@mod:x', timestamp: 1, reason: 'spam' };
    expect(timeline(event('a', { unsigned: { redacted_because: redaction } }))).toMatchObject({ redacted });
    expect(timeline(event('a'))).not.toHaveProperty('redacted');
  });

  it('says what came of decrypting it, and nothing where it was not sealed', () => {
    const outcome = { state: 'failed', reason: 'missing-key' } as const;
    expect(timeline(event('a', { [decryption]: outcome }))).toMatchObject({ decryption: outcome });
    expect(timeline(event('a'))).not.toHaveProperty('decryption');
  });

  it('takes the name of a room from its name alone', () => {
    const topic = event('t', { type: 'm.room.topic', state_key: '', content: { name: 'no name' } });
    const own = event('i', { type: 'm.room.member', state_key: userId });
    const state = [topic, own] as InviteBatch['state'];
    expect(toInvite(userId, { roomId, state }, 'live')?.roomName).toBeUndefined();
  });
});
