import { describe, expect, it } from 'vitest';
import type { Storage } from '../../src/storage/storage.js';
import { alice, bob, carol, once, recorder, setUp, turn } from './once-registry.js';

/** What a callback of the next process gets of the events that Bob brings. */
async function repeatedAfterRestart(storage: Storage, eventIds = ['$1']): Promise<string[]> {
  const { registry, deliver } = setUp(storage);
  const { got, callback } = recorder();
  registry.addForUsers(callback, once);
  for (const eventId of eventIds) await deliver(bob, eventId, { provenance: 'gap-fill' });
  return got;
}

describe('an event of `once` is not repeated after a restart', () => {
  it('if its callback was removed while it ran', async () => {
    const { registry, deliver, storage } = setUp();
    const { callback, hold } = recorder();
    const gate = hold('$1');
    const off = registry.addForUsers(callback, once);
    const copy = deliver(alice, '$1');
    await turn();
    off();
    gate.resolve();
    expect(await copy).toBe(true);
    expect(await repeatedAfterRestart(storage)).toEqual([]);
  });

  it('if a callback of the same options was added while it was handled', async () => {
    const { registry, deliver, storage } = setUp();
    const [first, added] = [recorder(), recorder()];
    const gate = first.hold('$1');
    registry.addForUsers(first.callback, once);
    const copy = deliver(alice, '$1');
    await turn();
    registry.addForUsers(added.callback, once);
    gate.resolve();
    await copy;
    await deliver(bob, '$1');
    expect(added.got).toEqual([]);
    expect(await repeatedAfterRestart(storage)).toEqual([]);
  });

  it('if the one callback that had not finished it was removed, and another copy came', async () => {
    const { registry, deliver, storage, stopOf } = setUp();
    const [quick, slow] = [recorder(), recorder()];
    const gate = slow.hold('$1');
    registry.addForUsers(quick.callback, once);
    const off = registry.addForUsers(slow.callback, once);
    const copy = deliver(alice, '$1');
    await turn();
    stopOf(alice).abort();
    gate.reject(new Error('told to fail'));
    expect(await copy).toBe(false);
    off();
    expect(await deliver(carol, '$1')).toBe(true);
    expect(quick.got).toEqual(['@alice $1']);
    expect(await repeatedAfterRestart(storage)).toEqual([]);
  });
});

describe('an event of `once` is repeated after a restart', () => {
  it('if a callback that was added meanwhile was given a copy and has not finished it', async () => {
    const { registry, deliver, storage } = setUp();
    const [first, added] = [recorder(), recorder()];
    const gate = first.hold('$1');
    added.hold('$1');
    registry.addForUsers(first.callback, once);
    const copy = deliver(alice, '$1');
    await turn();
    registry.addForUsers(added.callback, once);
    void deliver(bob, '$1');
    gate.resolve();
    await copy;
    expect(added.got).toEqual(['@bob $1']);
    expect(await repeatedAfterRestart(storage)).toEqual(['@bob $1']);
  });

  it.each(['the callbacks were removed', 'the manager was shut down'])(
    'if one of two callbacks had not finished it when a client was stopped, and %s',
    async (end) => {
      const { registry, deliver, storage, stopOf } = setUp();
      const [quick, slow] = [recorder(), recorder()];
      const gate = slow.hold('$1');
      const offs = [slow, quick].map(({ callback }) => registry.addForUsers(callback, once));
      const copy = deliver(alice, '$1');
      await turn();
      stopOf(alice).abort();
      if (end === 'the callbacks were removed') for (const off of offs) off();
      registry.abortCalls(alice);
      gate.reject(new Error('told to fail'));
      registry.clear();
      await copy;
      expect(await repeatedAfterRestart(storage)).toEqual(['@bob $1']);
    },
  );
});

describe('a function that is registered twice with `once` and other options', () => {
  it('gets each event once', async () => {
    const { registry, deliver, storage } = setUp();
    const { got, callback } = recorder();
    registry.addForUsers(callback, once);
    const off = registry.addForUsers(callback, { once: true, types: ['message'] });
    registry.addForUsers(callback, { once: true, users: [carol] });
    await deliver(alice, '$1');
    off();
    for (const userId of [bob, carol]) for (const eventId of ['$1', '$2']) await deliver(userId, eventId);
    expect(got).toEqual(['@alice $1', '@bob $2']);
    expect(await repeatedAfterRestart(storage, ['$1', '$2'])).toEqual([]);
  });

  it('gets an event again that not all callbacks of one of its options have finished', async () => {
    const { registry, deliver, storage } = setUp();
    const [both, slow] = [recorder(), recorder()];
    slow.hold('$1');
    registry.addForUsers(both.callback, { once: true, types: ['message'] });
    registry.addForUsers(both.callback, once);
    registry.addForUsers(slow.callback, once);
    void deliver(alice, '$1');
    await turn();
    expect(both.got).toEqual(['@alice $1']);
    expect(await repeatedAfterRestart(storage)).toEqual(['@bob $1']);
  });
});
