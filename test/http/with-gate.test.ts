import { describe, expect, it } from 'vitest';
import { assertStillClear, BecameEncrypted } from '../../src/core/became-encrypted.js';
import { openGate } from '../../src/core/ports/request-gate.js';
import type { AdmissionRequest, RequestGate } from '../../src/core/ports/request-gate.js';
import { MatrixClientManagerError } from '../../src/core/errors.js';
import { withGate } from '../../src/http/with-gate.js';
import { ManualClock } from '../../src/testing/manual-clock.js';
import { recordedDiagnostics } from '../support/recorded-diagnostics.js';
import { rejection } from '../support/rejection.js';

const userId = '@alice:hs';
const looking = { operation: 'looking', userId, method: 'GET', path: '/look' };
const read = (answer: { status: number }): string => `read ${answer.status}`;
const answering = (status: number) => ({ send: async () => ({ status }), read });
const failing = (reason: unknown) => ({ send: () => Promise.reject(reason), read });

/** What a request tells a gate and the diagnostics, in order. */
function setUp(gate: Partial<RequestGate> = {}) {
  const clock = new ManualClock();
  const told: unknown[] = [];
  const entered: AdmissionRequest[] = [];
  const options = {
    clock,
    gate: {
      ...openGate,
      enter: async (request) => void entered.push(request),
      record: (outcome) => told.push(['recorded', outcome]),
      ...gate,
    } satisfies RequestGate,
    diagnostics: recordedDiagnostics(told),
  };
  const outcome = { userId, isSync: false, sentAt: clock.now() };
  const recorded = (): unknown[] => told.filter((entry) => Array.isArray(entry) && entry[0] === 'recorded');
  return { clock, told, entered, options, outcome, recorded };
}

describe('a request at the gate', () => {
  it('is sent when it is admitted, and its response is read', async () => {
    const { options, told, outcome } = setUp();
    expect(await withGate(options, looking, answering(201))).toBe('read 201');
    expect(told).toEqual([
      ['recorded', { ...outcome, failed: false }],
      ['ended', 'GET /look', 'ok', 201],
    ]);
  });

  it('says what it is and whose', async () => {
    const { options, entered } = setUp();
    const { signal } = new AbortController();
    const admission = { operation: 'looking', userId, roomId: '!r:hs', priority: 'send', admin: true, signal } as const;
    await withGate(options, { ...admission, method: 'GET', path: '/look' }, answering(200));
    expect(entered).toEqual([admission]);
  });

  it('asks once more before it is sent, and is neither sent nor recorded if that rejects', async () => {
    const { options, told, entered } = setUp();
    const send = async (): Promise<{ status: number }> => {
      told.push('sent');
      return { status: 200 };
    };
    const beforeSend = async (): Promise<void> => void told.push(entered.length);
    await withGate(options, { ...looking, beforeSend }, { send, read });
    expect(told.slice(0, 2)).toEqual([1, 'sent']);
    told.length = 0;
    const refusal = new Error('changed meanwhile');
    const refuse = (): Promise<void> => Promise.reject(refusal);
    await expect(withGate(options, { ...looking, beforeSend: refuse }, { send, read })).rejects.toBe(refusal);
    expect(told).toEqual([['not sent', 'GET /look', 'permanent', undefined]]);
  });

  it('is not sent after an abort, however long that question takes, nor to a room that became encrypted', async () => {
    const { options, told } = setUp();
    const stop = new AbortController();
    const hang = (): Promise<void> => new Promise(() => stop.abort());
    const asking = { ...looking, signal: stop.signal, beforeSend: hang };
    expect(await rejection(withGate(options, asking, answering(200)))).toMatchObject({ code: 'ABORTED' });
    const beforeSend = (): Promise<void> => assertStillClear(Promise.resolve(true));
    await expect(withGate(options, { ...looking, beforeSend }, answering(200))).rejects.toThrow(BecameEncrypted);
    const notSent = ['not sent', 'GET /look', 'aborted', undefined];
    expect(told).toEqual([notSent, notSent]);
  });

  it('is recorded with the time at which it was admitted, and as a sync where it is one', async () => {
    const { options, clock, recorded, outcome } = setUp({ enter: () => clock.advance(7_000) });
    await withGate(options, { ...looking, priority: 'sync' }, answering(200));
    expect(recorded()).toEqual([['recorded', { userId, isSync: true, sentAt: outcome.sentAt + 7_000, failed: false }]]);
  });

  it.each([
    [500, true],
    [499, false],
  ])('with the response %i counts once, as a failure of the homeserver: %s', async (status, failed) => {
    const { options, told, outcome } = setUp();
    const refused = new MatrixClientManagerError('REJECTED', 'x', { status });
    const throwing = {
      send: async () => ({ status }),
      read: () => {
        throw refused;
      },
    };
    await expect(withGate(options, looking, throwing)).rejects.toBe(refused);
    expect(told).toEqual([
      ['recorded', { ...outcome, failed }],
      ['ended', 'GET /look', 'permanent', status],
    ]);
  });

  it('without a response counts as a failure of the homeserver', async () => {
    for (const error of [new MatrixClientManagerError('NETWORK', 'x'), new TypeError('a bug')]) {
      const { options, told, outcome } = setUp();
      await expect(withGate(options, looking, failing(error))).rejects.toBe(error);
      const result = error instanceof MatrixClientManagerError ? 'transient' : 'permanent';
      expect(told).toEqual([
        ['recorded', { ...outcome, failed: true }],
        ['ended', 'GET /look', result, undefined],
      ]);
    }
  });

  it('that was ended on purpose does not count', async () => {
    for (const code of ['ABORTED', 'HOMESERVER_UNAVAILABLE'] as const) {
      const { options, recorded } = setUp();
      await rejection(withGate(options, looking, failing(new MatrixClientManagerError(code, 'x'))));
      expect(recorded()).toEqual([]);
    }
  });

  it('counts where its sender says so', async () => {
    for (const isOurs of [true, false]) {
      const { options, recorded, outcome } = setUp();
      const error = new MatrixClientManagerError('NETWORK', 'x');
      const isFault = (given: unknown): boolean => given === error && isOurs;
      await rejection(withGate(options, looking, { ...failing(error), isFault }));
      expect(recorded()).toEqual(isOurs ? [['recorded', { ...outcome, failed: true }]] : []);
    }
  });

  it('counts once, as its sender said first', async () => {
    for (const ending of [200, 500, new MatrixClientManagerError('NETWORK', 'x')]) {
      const { options, recorded, outcome } = setUp();
      const send = async (record: (failed: boolean) => void): Promise<{ status: number }> => {
        record(false);
        record(true);
        if (typeof ending !== 'number') throw ending;
        return { status: ending };
      };
      await withGate(options, looking, { send, read }).catch(() => {});
      expect(recorded()).toEqual([['recorded', { ...outcome, failed: false }]]);
    }
  });

  it('is not sent when it is refused, and counts neither way', async () => {
    for (const error of [new MatrixClientManagerError('HOMESERVER_UNAVAILABLE', 'down'), new TypeError('a bug')]) {
      const { options, told } = setUp({ enter: () => Promise.reject(error) });
      const send = () => Promise.reject(new Error('sent'));
      await expect(withGate(options, looking, { send, read })).rejects.toBe(error);
      const result = error instanceof MatrixClientManagerError ? 'unavailable' : 'permanent';
      expect(told).toEqual([['not sent', 'GET /look', result, undefined]]);
    }
  });
});

describe('a request at the gate whose caller leaves', () => {
  it('is neither admitted nor sent', async () => {
    const { options, told, entered } = setUp();
    const error = await rejection(withGate(options, { ...looking, signal: AbortSignal.abort() }, answering(200)));
    expect(error).toMatchObject({ code: 'ABORTED', message: 'looking was aborted' });
    expect(entered).toEqual([]);
    expect(told).toEqual([['not sent', 'GET /look', 'aborted', undefined]]);
  });

  it('is not sent when it is admitted all the same', async () => {
    const leaving = new AbortController();
    const { options, told } = setUp({ enter: async () => leaving.abort() });
    const error = await rejection(withGate(options, { ...looking, signal: leaving.signal }, answering(200)));
    expect(error).toMatchObject({ code: 'ABORTED', message: 'looking was aborted' });
    expect(told).toEqual([['not sent', 'GET /look', 'aborted', undefined]]);
  });

  it('is told as aborted, whatever the gate or its sender say', async () => {
    const leaving = new AbortController();
    const reason = new Error('left the queue');
    const enter = async (): Promise<void> => {
      leaving.abort();
      throw reason;
    };
    const { options, told } = setUp({ enter });
    await expect(withGate(options, { ...looking, signal: leaving.signal }, answering(200))).rejects.toBe(reason);
    expect(told.at(-1)).toEqual(['not sent', 'GET /look', 'aborted', undefined]);
  });
});
