import { describe, expect, it } from 'vitest';
import { memoryStorage } from '../../src/storage/memory-storage.js';
import type { Storage } from '../../src/storage/storage.js';
import { messageEvent } from './message-event.js';
import { alice, bob, carol, once, recorder, setUp, turn } from './once-registry.js';

describe('a callback with `once`', () => {
  it('gets each event once for all users, those who bring it later too, and in order', async () => {
    const { registry, deliver, done } = setUp();
    const { got, callback } = recorder();
    registry.addForUsers(callback, once);
    const events = ['$1', '$2', '$3'];
    const all = await Promise.all([alice, bob].flatMap((userId) => events.map((id) => deliver(userId, id))));
    expect(all).toEqual(all.map(() => true));
    expect(await deliver(carol, '$2', { provenance: 'gap-fill' })).toBe(true);
    expect(got).toEqual(['@alice $1', '@alice $2', '@alice $3']);
    expect(done).toHaveLength(7);
  });

  it('keeps the copies of other users back until it has finished', async () => {
    const { registry, deliver, done } = setUp();
    const { got, callback, hold } = recorder();
    const gate = hold('$1');
    registry.addForUsers(callback, once);
    const copies = [deliver(alice, '$1'), deliver(bob, '$1')];
    await turn();
    expect([got, done]).toEqual([['@alice $1'], []]);
    gate.resolve();
    expect(await Promise.all(copies)).toEqual([true, true]);
    expect([got, done]).toEqual([
      ['@alice $1'],
      ['@alice $1', '@bob $1'].map((text) => text.replace(' ', ':hs.test ')),
    ]);
  });

  it('gets the copy of another user when the first one was stopped in the middle', async () => {
    const { registry, deliver, done, stopOf } = setUp();
    const got: string[] = [];
    registry.addForUsers(async ({ userId }, { signal }) => {
      got.push(userId);
      if (userId === alice)
        await new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason)));
    }, once);
    const copies = [deliver(alice, '$1'), deliver(bob, '$1')];
    await turn();
    stopOf(alice).abort();
    registry.abortCalls(alice);
    expect(await Promise.all(copies)).toEqual([false, true]);
    expect([got, done]).toEqual([[alice, bob], [`${bob} $1`]]);
  });

  it('goes on with other users when the stop of a client gives up waiting for a call that ignores its signal', async () => {
    const { registry, deliver, done, stopOf } = setUp();
    const gate = Promise.withResolvers<void>();
    const got: string[] = [];
    registry.addForUsers(async (event) => {
      got.push(`${event.userId} ${'eventId' in event ? event.eventId : ''}`);
      if (event.userId === alice) await gate.promise;
    }, once);
    const copies = [alice, bob].flatMap((userId) => [deliver(userId, '$1'), deliver(userId, '$2')]);
    await turn();
    stopOf(alice).abort();
    await turn();
    expect(got).toEqual([`${alice} $1`]); // the stop still waits
    registry.abortCalls(alice);
    expect(await Promise.all(copies)).toEqual([false, false, true, true]);
    expect(got).toEqual([`${alice} $1`, `${bob} $1`, `${bob} $2`]);
    expect(done).toEqual([`${bob} $1`, `${bob} $2`]);
  });

  it('does not get an event again that it took after the stop of the client had given up', async () => {
    const { registry, deliver, stopOf } = setUp();
    const { got, callback, hold } = recorder();
    const gate = hold('$1');
    registry.addForUsers(callback, once);
    const copy = deliver(alice, '$1');
    await turn();
    stopOf(alice).abort();
    registry.abortCalls(alice);
    expect(await copy).toBe(false);
    gate.resolve();
    await turn();
    expect([await deliver(bob, '$1'), got]).toEqual([true, ['@alice $1']]);
  });

  it('does not hold up the stop of a user whose copy waits', async () => {
    const { registry, deliver, stopOf } = setUp();
    const { got, callback, hold } = recorder();
    const gate = hold('$1');
    registry.addForUsers(callback, once);
    const [first, second] = [deliver(alice, '$1'), deliver(bob, '$1')];
    await turn();
    stopOf(bob).abort();
    expect(await second).toBe(false);
    gate.resolve();
    expect([await first, got]).toEqual([true, ['@alice $1']]);
  });

  it('that fails for good has one dead letter, and is not called for other copies', async () => {
    const { clock, registry, deliver, deadLetters, done } = setUp();
    let calls = 0;
    registry.addForUsers(() => {
      calls++;
      throw new Error('told to fail');
    }, once);
    const copies = Promise.all([deliver(alice, '$1'), deliver(bob, '$1')]);
    await turn();
    await clock.advance(10_000);
    expect(await copies).toEqual([true, true]);
    expect(await deliver(carol, '$1')).toBe(true);
    expect([calls, deadLetters, done.length]).toEqual([2, [`${alice} $1`], 3]);
  });

  it('gets a dead letter again', async () => {
    const { clock, registry, deliver, stopOf } = setUp();
    const { got, callback } = recorder();
    let fails = true;
    registry.addForUsers((event) => {
      if (fails) throw new Error('told to fail');
      return callback(event);
    }, once);
    const failed = deliver(alice, '$1');
    await turn();
    await clock.advance(10_000);
    await failed;
    fails = false;
    const letter = messageEvent({ userId: alice, eventId: '$1' });
    expect(await registry.redeliver(letter, stopOf(alice).signal)).toBe(true);
    expect(got).toEqual(['@alice $1']);
  });

  it('that is removed while it runs does not keep other users back', async () => {
    const { registry, deliver } = setUp();
    const { got, callback, hold } = recorder();
    const gate = hold('$1');
    const off = registry.addForUsers(callback, once);
    const copies = [deliver(alice, '$1'), deliver(bob, '$1'), deliver(alice, '$2')];
    await turn();
    off();
    gate.resolve();
    expect(await Promise.all(copies)).toEqual([true, true, true]);
    expect(got).toEqual(['@alice $1']);
    expect(registry.hasAny(alice)).toBe(false);
  });

  it('does not get typing, receipts and invitations, and cannot ask for them', async () => {
    const { registry, stopOf } = setUp();
    const { got, callback } = recorder();
    registry.addForUsers(callback, once);
    const typing = { type: 'typing', userId: alice, roomId: '!r:x', provenance: 'live', userIds: [] } as const;
    expect(await registry.dispatch(typing, stopOf(alice).signal)).toBe(true);
    expect(got).toEqual([]);
    for (const type of ['typing', 'receipt', 'invite'])
      expect(() => registry.addForUsers(callback, { once: true, types: ['message', type] })).toThrow(/`once`/);
    registry.addForUsers(callback, { once: true, types: ['message', 'membership', 'm.call.*', 'm.typing'] });
  });

  it('gets a copy that a user can read after one that a user could not read, and not vice versa', async () => {
    const { registry, deliver } = setUp();
    const { got, callback } = recorder();
    registry.addForUsers(callback, once);
    const unreadable = { encrypted: true, decryption: { state: 'failed', reason: 'missing-key' } } as const;
    const sender = {
      authenticated: true,
      deviceId: 'D',
      signedByOwner: true,
      ownerVerified: false,
      identityChanged: false,
    };
    const readable = { encrypted: true, decryption: { state: 'decrypted', sender } } as const;
    await deliver(alice, '$1', unreadable);
    await deliver(bob, '$1', { encrypted: true });
    await deliver(carol, '$1', readable);
    await deliver(alice, '$1', readable);
    await deliver(bob, '$2', readable);
    await deliver(alice, '$2', unreadable);
    expect(got).toEqual(['@alice $1', '@carol $1', '@bob $2']);
  });
});

describe('several callbacks with `once`', () => {
  it('each get an event once, and do not wait for each other', async () => {
    const { registry, deliver } = setUp();
    const [slow, quick] = [recorder(), recorder()];
    const gate = slow.hold('$1');
    registry.addForUsers(slow.callback, once);
    registry.addForUsers(quick.callback, once);
    const copies = [alice, bob].flatMap((userId) => [deliver(userId, '$1'), deliver(userId, '$2')]);
    await turn();
    expect([slow.got, quick.got]).toEqual([['@alice $1'], ['@alice $1', '@alice $2']]);
    gate.resolve();
    await Promise.all(copies);
    expect(slow.got).toEqual(['@alice $1', '@alice $2']);
  });

  it('of other options do not take each other’s events', async () => {
    const { registry, deliver } = setUp();
    const [all, ofBob, history] = [recorder(), recorder(), recorder()];
    registry.addForUsers(all.callback, once);
    registry.addForUsers(ofBob.callback, { once: true, users: [bob] });
    registry.addForUsers(history.callback, { once: true, backlog: true });
    await deliver(carol, '$1', { provenance: 'backlog' });
    await deliver(alice, '$1');
    await deliver(bob, '$1');
    expect([all.got, ofBob.got, history.got]).toEqual([['@alice $1'], ['@bob $1'], ['@carol $1']]);
  });
});

describe('the next process', () => {
  it('does not repeat what was handled, whoever brings it', async () => {
    const before = setUp();
    before.registry.addForUsers(() => {}, { once: true, types: ['reaction', 'message'] });
    await before.deliver(alice, '$1');
    const after = setUp(before.storage);
    const { got, callback } = recorder();
    after.registry.addForUsers(callback, { once: true, types: ['message', 'reaction'] });
    expect(await after.deliver(bob, '$1', { provenance: 'gap-fill' })).toBe(true);
    expect(got).toEqual([]);
  });

  it('repeats for all of the same options what one of them had not finished', async () => {
    const before = setUp();
    const held = recorder();
    held.hold('$1');
    before.registry.addForUsers(() => {}, once);
    before.registry.addForUsers(held.callback, once);
    void before.deliver(alice, '$1');
    await turn();
    const after = setUp(before.storage);
    const [one, two] = [recorder(), recorder()];
    after.registry.addForUsers(one.callback, once);
    after.registry.addForUsers(two.callback, once);
    await after.deliver(alice, '$1');
    expect([one.got, two.got]).toEqual([['@alice $1'], ['@alice $1']]);
  });

  it('finds in the storage what was handled before the position of a user is stored', async () => {
    const order: string[] = [];
    const storage = memoryStorage();
    const addOnceEvents = storage.addOnceEvents?.bind(storage);
    storage.addOnceEvents = async (...args) => {
      order.push('once');
      await addOnceEvents?.(...args);
    };
    const { registry, deliver, done } = setUp(storage);
    registry.addForUsers(() => {}, once);
    done.push = (...items) => order.push(...items);
    await Promise.all([deliver(alice, '$1'), deliver(bob, '$1')]);
    expect(order).toEqual(['once', `${alice} $1`, `${bob} $1`]);
  });
});

describe('a storage that fails', () => {
  it('on writing loses nothing: the next write has the key too', async () => {
    const storage = memoryStorage();
    const addOnceEvents = storage.addOnceEvents?.bind(storage);
    let fails = true;
    const counts: number[] = [];
    storage.addOnceEvents = async (keys, limit) => {
      counts.push(keys.length);
      if (fails) throw new Error('disk full');
      await addOnceEvents?.(keys, limit);
    };
    const { onceLog, registry, deliver, logger } = setUp(storage);
    const { got, callback } = recorder();
    registry.addForUsers(callback, once);
    expect([await deliver(alice, '$1'), await deliver(bob, '$1')]).toEqual([true, true]);
    expect(got).toEqual(['@alice $1']);
    fails = false;
    await deliver(alice, '$2');
    await onceLog.settled();
    expect(counts).toEqual([1, 2]);
    expect(logger.entries.filter(({ level }) => level === 'error')).toHaveLength(1);
  });

  it('on reading is asked three times, and then the event is delivered', async () => {
    const storage = memoryStorage();
    let asked = 0;
    storage.findOnceEvents = async () => {
      asked++;
      throw new Error('unreachable');
    };
    const { clock, registry, deliver } = setUp(storage);
    const { got, callback } = recorder();
    registry.addForUsers(callback, once);
    const copy = deliver(alice, '$1');
    await turn();
    await clock.advance(30_000);
    expect([await copy, asked, got]).toEqual([true, 3, ['@alice $1']]);
  });

  it('without the methods remembers until the process ends, and says so once', async () => {
    const { registry, deliver, logger } = setUp({} as Storage);
    const { got, callback } = recorder();
    registry.addForUsers(callback, once);
    for (const id of ['$1', '$2']) for (const userId of [alice, bob]) await deliver(userId, id);
    expect(got).toEqual(['@alice $1', '@alice $2']);
    expect(logger.entries.filter(({ level }) => level === 'warn')).toHaveLength(1);
  });
});
