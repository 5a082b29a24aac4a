import { runInNewContext } from 'node:vm';
import { describe, expect, it } from 'vitest';
import { containedStorage } from '../../src/storage/contained-storage.js';
import type { Storage } from '../../src/storage/storage.js';
import { ManualClock } from '../../src/testing/index.js';
import { rejection } from '../support/rejection.js';

const checkpoint = { rooms: new Map(), lastDelivered: new Map(), journal: [] };
/** Under Jest, structuredClone() makes Maps that are not those of the sandbox. */
const ofOtherRealm = {
  ...checkpoint,
  rooms: runInNewContext('new Map()'),
  lastDelivered: runInNewContext('new Map()'),
};
const list = { right: [[], [{}, {}]], wrong: [null, {}, [5], [{}, null]] };
const whether = { right: [true, false], wrong: [null, undefined, 1] };
const any = { right: [undefined, null, 5], wrong: [] };

/** Answers of each method: those that the library can work with, and those that it would fail on. */
const methods: Readonly<Record<string, { right: readonly unknown[]; wrong: readonly unknown[] }>> = {
  getCredentials: { right: [undefined, null, { userId: '@ann:hs.test' }], wrong: [[5], false] },
  setCredentials: any,
  deleteCredentials: any,
  loadCheckpoint: {
    right: [checkpoint, ofOtherRealm],
    wrong: [
      null,
      undefined,
      { ...checkpoint, rooms: {} },
      { ...checkpoint, lastDelivered: {} },
      { ...checkpoint, journal: 5 },
    ],
  },
  commit: any,
  addDeadLetter: any,
  listDeadLetters: list,
  deleteDeadLetter: whether,
  enqueueSend: { right: [{ send: {}, isNew: true }], wrong: [null, undefined, {}, { send: 5 }] },
  listSends: list,
  completeSend: whether,
  failSend: whether,
  deleteSend: whether,
  deleteUser: any,
  getEncryptedRooms: { right: [new Map([['!a:x', '']])], wrong: [null, undefined, {}] },
  setEncryptedRooms: any,
  addOnceEvents: any,
  findOnceEvents: { right: [[], ['key']], wrong: [null, undefined, {}, [5]] },
};

const optional = new Set(['getEncryptedRooms', 'setEncryptedRooms', 'addOnceEvents', 'findOnceEvents']);

function setUp(name: string, run: () => unknown) {
  const clock = new ManualClock();
  const storage = containedStorage({ [name]: run } as unknown as Storage, { clock, timeoutMs: 30_000 });
  const call = (): Promise<unknown> => (storage as unknown as Record<string, () => Promise<unknown>>)[name]!();
  return { clock, call };
}

describe.each(Object.entries(methods))('storage.%s()', (name, { right, wrong }) => {
  it('that throws, or rejects with something else, is STORAGE', async () => {
    const thrown = new Error('disk full');
    const throwing = setUp(name, () => {
      throw thrown;
    });
    expect(await rejection(throwing.call())).toMatchObject({
      code: 'STORAGE',
      message: expect.stringContaining(`storage.${name}()`) as string,
      cause: thrown,
    });
    expect(await rejection(setUp(name, () => Promise.reject(thrown)).call())).toMatchObject({ code: 'STORAGE' });
    expect(throwing.clock.pendingTimers).toBe(0);
  });

  it('that hangs is STORAGE after its time', async () => {
    const { clock, call } = setUp(name, () => new Promise(() => {}));
    const failing = rejection(call());
    await clock.advance(30_000);
    expect((await failing).code).toBe('STORAGE');
  });

  it('that is not there is STORAGE, and says so', async () => {
    const storage = containedStorage({} as Storage, { clock: new ManualClock(), timeoutMs: 30_000 });
    if (optional.has(name)) return expect(storage).not.toHaveProperty(name);
    const call = (storage as unknown as Record<string, () => Promise<unknown>>)[name]!;
    expect(await rejection(call())).toMatchObject({
      code: 'STORAGE',
      cause: expect.objectContaining({ message: 'the storage has no such method' }) as Error,
    });
  });

  it('hands on what is right, a null as nothing', async () => {
    for (const answer of right) expect(await setUp(name, () => answer).call()).toBe(answer ?? undefined);
  });

  if (wrong.length === 0) return;
  it('that answers something else is STORAGE', async () => {
    for (const answer of [...wrong, 5, 'text', [5]]) {
      expect(await rejection(setUp(name, async () => answer).call())).toMatchObject({ code: 'STORAGE' });
    }
  });
});

it('closes the storage, both ways', async () => {
  let closed = 0;
  const close = async (): Promise<void> => {
    closed++;
  };
  const storage = containedStorage({ close } as unknown as Storage, { clock: new ManualClock(), timeoutMs: 1 });
  await storage.close();
  await storage[Symbol.asyncDispose]();
  expect(closed).toBe(2);
});
