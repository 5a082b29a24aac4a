import { describe, expect, it } from 'vitest';
import { containedStorage } from '../../src/storage/contained-storage.js';
import type { Storage } from '../../src/storage/storage.js';
import { ManualClock } from '../../src/testing/index.js';
import { rejection } from '../support/rejection.js';

/** Methods by whether their answer is looked at. */
const methods = {
  getCredentials: true,
  setCredentials: false,
  deleteCredentials: false,
  loadCheckpoint: true,
  commit: false,
  addDeadLetter: false,
  listDeadLetters: true,
  deleteDeadLetter: true,
  enqueueSend: true,
  listSends: true,
  completeSend: true,
  failSend: true,
  deleteSend: true,
  deleteUser: false,
} as const;

function setUp(name: string, run: () => unknown) {
  const clock = new ManualClock();
  const storage = containedStorage({ [name]: run } as unknown as Storage, { clock, timeoutMs: 30_000 });
  const call = (): Promise<unknown> => (storage as unknown as Record<string, () => Promise<unknown>>)[name]!();
  return { clock, call };
}

describe.each(Object.entries(methods))('storage.%s()', (name, answers) => {
  it('that throws, or rejects with something else, is STORAGE', async () => {
    const thrown = new Error('disk full');
    const throwing = setUp(name, () => {
      throw thrown;
    });
    expect(await rejection(throwing.call())).toMatchObject({ code: 'STORAGE', cause: thrown });
    expect(await rejection(setUp(name, () => Promise.reject(thrown)).call())).toMatchObject({ code: 'STORAGE' });
    expect(throwing.clock.pendingTimers).toBe(0);
  });

  it('that hangs is STORAGE after its time', async () => {
    const { clock, call } = setUp(name, () => new Promise(() => {}));
    const failing = rejection(call());
    await clock.advance(30_000);
    expect((await failing).code).toBe('STORAGE');
  });

  it.runIf(answers)('that answers something else is STORAGE', async () => {
    for (const answer of [5, 'text', name === 'getCredentials' ? 5 : null, [5]]) {
      expect((await rejection(setUp(name, async () => answer).call())).code).toBe('STORAGE');
    }
  });
});
