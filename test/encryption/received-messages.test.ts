import { describe, expect, it } from 'vitest';
import { nextEventLoopTurn } from '../../src/core/event-loop.js';
import { MatrixClientManagerError } from '../../src/core/errors.js';
import { ReceivedMessages } from '../../src/encryption/received-messages.js';

/** Records that are stored a turn of the event loop later. */
function storage() {
  const records = new Map<string, Uint8Array>();
  const store = {
    receivedKey: new Uint8Array(32).fill(7),
    reads: 0,
    readSideRecord: async (name: string) => {
      store.reads++;
      await nextEventLoopTurn();
      return records.get(name);
    },
    writeSideRecord: async (name: string, record: Uint8Array) => {
      const copy = new Uint8Array(record);
      await nextEventLoopTurn();
      records.set(name, copy);
    },
  };
  return { records, store };
}

const place = (index: number, sessionId = 's', roomId = '!r:x') => ({ roomId, senderId: '@alice:x', sessionId, index });

describe('ReceivedMessages', () => {
  it('gives each index of a session to the event that came first, also after a restart', async () => {
    const { store } = storage();
    let received = new ReceivedMessages(store);
    for (let start = 0; start < 2; start++) {
      for (const index of [0, 1, 127, 128, 2 ** 32 - 1]) {
        expect(await received.isReplay(place(index), `$${index}`)).toBe(false);
        expect(await received.isReplay(place(index), `$${index}`)).toBe(false);
        expect(await received.isReplay(place(index), '$copy')).toBe(true);
      }
      received = new ReceivedMessages(store);
    }
    expect(await received.isReplay(place(0, 'other'), '$copy')).toBe(false);
    expect(await received.isReplay(place(0, 's', '!other:x'), '$copy')).toBe(false);
  });

  it('says that an event is the first only once that is stored', async () => {
    const { records, store } = storage();
    const received = new ReceivedMessages(store);
    const both = [received.isReplay(place(0), '$1'), received.isReplay(place(0), '$1')];
    await Promise.race(both);
    expect(records.size).toBe(1);
    expect(await new ReceivedMessages(store).isReplay(place(0), '$2')).toBe(true);
  });

  it('gives an index to one of several events that come at once, as those of a page', async () => {
    const { store } = storage();
    const received = new ReceivedMessages(store);
    const ids = ['$1', '$2', '$3'];
    const replays = await Promise.all(ids.map((id) => received.isReplay(place(5), id)));
    expect(replays).toEqual([false, true, true]);
    await Promise.all(
      Array.from({ length: 128 }, (_value, index) => received.isReplay(place(index, 'full'), `$${index}`)),
    );
    const later = new ReceivedMessages(store);
    const copies = Array.from({ length: 128 }, (_value, index) => later.isReplay(place(index, 'full'), `$x${index}`));
    expect(new Set(await Promise.all(copies))).toEqual(new Set([true]));
  });

  it('lets no event of another sender take the index of the real one, also after a restart', async () => {
    const { store } = storage();
    let received = new ReceivedMessages(store);
    const ofMallory = { ...place(0), senderId: '@mallory:x' };
    for (let start = 0; start < 2; start++) {
      expect(await received.isReplay(ofMallory, '$copy')).toBe(false);
      expect(await received.isReplay(ofMallory, '$copy of the copy')).toBe(true);
      expect(await received.isReplay(place(0), '$real')).toBe(false);
      expect(await received.isReplay(place(0), '$copy')).toBe(true);
      received = new ReceivedMessages(store);
    }
  });

  it('forgets nothing of many sessions at once, with few in memory', async () => {
    const { store } = storage();
    const received = new ReceivedMessages(store);
    const sessions = Array.from({ length: 200 }, (_value, n) => `s${n}`);
    for (const index of [0, 1]) {
      const replays = await Promise.all(sessions.map((id) => received.isReplay(place(index, id), `$${index}`)));
      expect(replays.some(Boolean)).toBe(false);
    }
    for (const index of [0, 1]) {
      const replays = await Promise.all(sessions.map((id) => received.isReplay(place(index, id), '$copy')));
      expect(replays.every(Boolean)).toBe(true);
    }
    const { reads } = store;
    await received.isReplay(place(0, 's199'), '$0');
    expect(store.reads).toBe(reads);
  });

  it('keeps hashes of event ids that nobody else can calculate', async () => {
    const marksWith = async (key: number): Promise<string[]> => {
      const { records, store } = storage();
      await new ReceivedMessages({ ...store, receivedKey: new Uint8Array(32).fill(key) }).isReplay(place(3), '$1');
      return [...records.values()].map((record) => Buffer.from(record).toString('hex'));
    };
    const [one, again, other] = [await marksWith(1), await marksWith(1), await marksWith(2)];
    expect(one).toEqual(again);
    expect(one).not.toEqual(other);
    expect(one[0]).toHaveLength(18);
  });

  it('rejects while records cannot be read or stored, and reads again', async () => {
    const { store } = storage();
    const failure = new MatrixClientManagerError('STORAGE', 'no');
    let isBroken = true;
    const flaky = {
      ...store,
      readSideRecord: async (name: string) => {
        if (isBroken) throw failure;
        return store.readSideRecord(name);
      },
    };
    const received = new ReceivedMessages(flaky);
    await expect(received.isReplay(place(0), '$1')).rejects.toBe(failure);
    isBroken = false;
    expect(await received.isReplay(place(0), '$1')).toBe(false);
    const full = new ReceivedMessages({ ...store, writeSideRecord: () => Promise.reject(failure) });
    await expect(full.isReplay(place(9), '$1')).rejects.toBe(failure);
    await expect(full.isReplay(place(9), '$1')).rejects.toBe(failure);
  });
});
