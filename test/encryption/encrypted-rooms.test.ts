import { describe, expect, it } from 'vitest';
import { EncryptedRooms } from '../../src/encryption/encrypted-rooms.js';
import { memoryStorage } from '../../src/storage/memory-storage.js';
import type { Storage } from '../../src/storage/storage.js';
import { ManualClock } from '../../src/testing/manual-clock.js';
import { MemoryLogger } from '../../src/testing/memory-logger.js';

const room = '!room:hs.test';
const content = (messages: number) => ({ algorithm: 'm.megolm.v1.aes-sha2', rotation_period_msgs: messages });
const withMessages = (messages: number) => ({ rotation: { periodMs: 604_800_000, messages } });

function setUp(storage: Storage = memoryStorage()) {
  const clock = new ManualClock();
  const logger = new MemoryLogger();
  const calls = { reads: 0, writes: 0 };
  const failing = { on: false };
  const fail = () => Promise.reject(Object.assign(new Error('disk full'), { code: 'STORAGE' }));
  const counted = {
    ...(storage.getEncryptedRooms && {
      getEncryptedRooms: (ids: readonly string[]) => {
        calls.reads++;
        return failing.on ? fail() : storage.getEncryptedRooms?.(ids);
      },
    }),
    ...(storage.setEncryptedRooms && {
      setEncryptedRooms: (rooms: ReadonlyMap<string, string>) => {
        calls.writes++;
        return failing.on ? fail() : storage.setEncryptedRooms?.(rooms);
      },
    }),
  } as Storage;
  const rooms = new EncryptedRooms({ clock, logger }, counted);
  return { rooms, clock, logger, calls, failing, storage, again: () => setUp(storage) };
}

describe('a room', () => {
  it('that was seen encrypted is encrypted at once, and after a restart', async () => {
    const { rooms, again } = setUp();
    expect(await rooms.has(room)).toBe(false);
    rooms.note([[room, content(50)]]);
    expect(await rooms.has(room)).toBe(true);
    await rooms.settled();
    const { rooms: next } = again();
    expect(await next.has(room)).toBe(true);
    expect(await next.get(room)).toEqual(withMessages(50));
    expect(await next.has('!other:hs.test')).toBe(false);
  });

  it('is known among more rooms than are cached, all asked for at once, in reads of limited size', async () => {
    const storage = memoryStorage();
    const ids = Array.from({ length: 12_000 }, (_, n) => `!${n}:hs.test`);
    const { rooms } = setUp(storage);
    rooms.note(ids.map((id) => [id, content(50)]));
    await rooms.settled();
    const sizes: number[] = [];
    const { rooms: next } = setUp({
      ...storage,
      getEncryptedRooms: (asked: readonly string[]) => {
        sizes.push(asked.length);
        return storage.getEncryptedRooms?.(asked);
      },
      setEncryptedRooms: () => Promise.reject(new Error('nothing is new')),
    } as Storage);
    const known = await Promise.all(ids.map((id) => next.has(id)));
    expect(known.filter((isKnown) => !isKnown)).toEqual([]);
    expect(Math.max(...sizes)).toBe(500);
  });

  it('keeps its strictest settings, whatever is seen later, and in whichever process', async () => {
    const { rooms, again } = setUp();
    rooms.note([[room, content(50)]]);
    await rooms.settled();
    const { rooms: next } = again();
    next.note([[room, content(900)]]);
    expect(await next.get(room)).toEqual(withMessages(50));
    next.note([
      [room, {}],
      [room, { algorithm: 'm.other' }],
      [room, content(20)],
    ]);
    await next.settled();
    expect(await again().rooms.get(room)).toEqual(withMessages(20));
  });

  it('is written once, and read once, however often its event and its messages come', async () => {
    const { rooms, calls, again } = setUp();
    for (let n = 0; n < 50; n++) {
      rooms.note([[room, content(50)]]);
      await rooms.settled();
      await rooms.has(room);
    }
    expect(calls).toEqual({ reads: 1, writes: 1 });
    const { rooms: next, calls: later } = again();
    await Promise.all(Array.from({ length: 50 }, () => next.has(room)));
    next.note([[room, content(50)]]);
    await next.settled();
    expect(later).toEqual({ reads: 1, writes: 0 });
  });

  it('that another process has seen encrypted is encrypted at once, also if it was not a moment before', async () => {
    const { rooms, calls, again } = setUp();
    await Promise.all(Array.from({ length: 50 }, () => rooms.has(room)));
    expect(calls.reads).toBe(1);
    expect(await rooms.has(room)).toBe(false);
    const other = again().rooms;
    other.note([[room, {}]]);
    await other.settled();
    expect(await rooms.has(room)).toBe(true);
  });

  it('many rooms are read and written together', async () => {
    const { rooms, calls } = setUp();
    rooms.note(Array.from({ length: 1_200 }, (_, n) => [`!${n}:hs.test`, content(100)]));
    await rooms.settled();
    expect(calls).toEqual({ reads: 3, writes: 3 });
  });
});

describe('while the storage fails', () => {
  it('a room that was seen is encrypted, and one that was not is an error', async () => {
    const { rooms, failing, logger, clock, again } = setUp();
    failing.on = true;
    rooms.note([[room, content(50)]]);
    await rooms.settled();
    expect(await rooms.has(room)).toBe(true);
    await expect(rooms.has('!other:hs.test')).rejects.toMatchObject({ code: 'STORAGE' });
    expect(logger.entries).toHaveLength(1);
    failing.on = false;
    await clock.advance(10_000);
    await rooms.get(room);
    await rooms.settled();
    expect(await again().rooms.has(room)).toBe(true);
  });
});

it('a storage that cannot remember rooms is warned of, and they are kept until the end of the process', async () => {
  const { rooms, logger } = setUp({} as Storage);
  expect(await rooms.has(room)).toBe(false);
  expect(logger.entries).toEqual([]);
  rooms.note([[room, content(50)]]);
  await rooms.settled();
  expect(await rooms.get(room)).toEqual(withMessages(50));
  expect(logger.entries.map(({ level }) => level)).toEqual(['warn']);
});
