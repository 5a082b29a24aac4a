import { describe, expect, it } from 'vitest';
import { readVersions, ServerVersions } from '../../src/http/server-versions.js';
import type { TransportRequest } from '../../src/core/ports/transport.js';
import { ManualClock } from '../../src/testing/manual-clock.js';
import { advanceUntil } from '../support/advance-until.js';
import { rejection } from '../support/rejection.js';
import { hang, json, matrixError, ScriptedFetch } from '../support/scripted-fetch.js';
import { testHomeserver } from '../support/context.js';

const HOUR_MS = 3_600_000;
const { signal } = new AbortController();

function setUp(answers: ConstructorParameters<typeof ScriptedFetch>, requestTimeoutMs = 30_000) {
  const clock = new ManualClock();
  const script = new ScriptedFetch(...answers);
  const sent: TransportRequest[] = [];
  const inner = script.connections;
  const connections = {
    ...inner,
    send: (request: TransportRequest) => {
      sent.push(request);
      return inner.send(request);
    },
  };
  const http = testHomeserver({ homeserverUrl: 'http://hs', connections, clock, requestTimeoutMs }).http;
  const stop = new AbortController();
  const versions = new ServerVersions({ clock }, http, stop.signal);
  return { clock, http, versions, stop, sent, requests: script.requests };
}

const speaks = (...versions: unknown[]): Response => json({ versions });

describe('what the homeserver speaks', () => {
  it('is asked without a token, on connections that calls do not hold up', async () => {
    const { http, sent, requests } = setUp([speaks('v1.1')]);
    expect(await readVersions(http, signal)).toEqual({ versions: ['v1.1'] });
    expect(sent).toMatchObject([{ method: 'GET', path: '/_matrix/client/versions', lane: 'admin' }]);
    expect(requests[0]?.authorization).toBeNull();
  });

  it('is what of an answer can be read', async () => {
    const { http } = setUp([
      json({ versions: ['v1.1', 7, null], unstable_features: { 'org.matrix.a': true }, more: 1 }),
      json({ versions: [], unstable_features: 'none' }),
      json({ versions: 'v1.1' }),
    ]);
    expect(await readVersions(http, signal)).toEqual({
      versions: ['v1.1'],
      unstable_features: { 'org.matrix.a': true },
      more: 1,
    });
    expect((await readVersions(http, signal)).unstable_features).toBeUndefined();
    const asking = readVersions(http, signal);
    expect(await rejection(asking)).toMatchObject({ code: 'INVALID_RESPONSE' });
  });

  it.each([
    [30_000, 5_000],
    [1_000, 1_000],
  ])('is waited for up to five seconds (%i ms for others)', async (timeoutMs, limitMs) => {
    const { http, clock } = setUp([hang], timeoutMs);
    const failure = rejection(readVersions(http, signal));
    await clock.advance(limitMs);
    expect(await failure).toMatchObject({
      code: 'TIMEOUT',
      message: `looking for the homeserver got no response within ${limitMs} ms`,
    });
  });

  it('is asked once where nothing else is said', async () => {
    const { http, requests } = setUp([matrixError(500, 'M_UNKNOWN')]);
    expect(await rejection(readVersions(http, signal))).toMatchObject({ code: 'HOMESERVER_UNAVAILABLE' });
    expect(requests).toHaveLength(1);
  });

  it('is asked once for all, and again after six hours', async () => {
    const { versions, clock, requests } = setUp([speaks('v1.1'), speaks('v1.2')]);
    expect(await Promise.all([versions.get(signal), versions.get(signal)])).toEqual([
      { versions: ['v1.1'] },
      { versions: ['v1.1'] },
    ]);
    await clock.advance(6 * HOUR_MS - 1);
    expect(await versions.get(signal)).toEqual({ versions: ['v1.1'] });
    expect(requests).toHaveLength(1);
    await clock.advance(1);
    expect(await versions.get(signal)).toEqual({ versions: ['v1.2'] });
  });

  it('is asked up to three times, and again for the next after a failure', async () => {
    const failing = () => matrixError(500, 'M_UNKNOWN');
    const { versions, clock, requests } = setUp([failing(), failing(), failing(), speaks('v1.1')]);
    const failure = rejection(advanceUntil(clock, versions.get(signal)));
    expect(await failure).toMatchObject({ code: 'HOMESERVER_UNAVAILABLE' });
    expect(requests).toHaveLength(3);
    expect(await versions.get(signal)).toEqual({ versions: ['v1.1'] });
    expect(await versions.get(signal)).toEqual({ versions: ['v1.1'] });
    expect(requests).toHaveLength(4);
  });

  it('keeps a newer answer when an older request fails late', async () => {
    const slow = Promise.withResolvers<Response>();
    const { versions, clock, requests } = setUp([() => slow.promise, speaks('v1.2')]);
    const old = rejection(versions.get(signal));
    await clock.advance(0);
    Object.assign(clock, { now: () => 1_700_000_000_000 + 6 * HOUR_MS }); // without letting its time run out
    expect(await versions.get(signal)).toEqual({ versions: ['v1.2'] });
    slow.resolve(matrixError(403, 'M_FORBIDDEN'));
    expect(await old).toMatchObject({ code: 'FORBIDDEN' });
    expect(await versions.get(signal)).toEqual({ versions: ['v1.2'] });
    expect(requests).toHaveLength(2);
  });

  it('goes on being asked for the others when one of them leaves', async () => {
    const answer = Promise.withResolvers<Response>();
    const { versions, clock, requests } = setUp([() => answer.promise]);
    const leaving = new AbortController();
    const left = rejection(versions.get(leaving.signal));
    const staying = versions.get(signal);
    await clock.advance(0);
    leaving.abort();
    expect(await left).toMatchObject({
      code: 'ABORTED',
      message: 'asking for the versions of the homeserver was aborted',
    });
    answer.resolve(speaks('v1.1'));
    expect(await staying).toEqual({ versions: ['v1.1'] });
    expect(requests).toHaveLength(1);
  });

  it('is asked no more when the manager ends', async () => {
    const { versions, clock, stop, requests } = setUp([hang]);
    const failure = rejection(versions.get(signal));
    await clock.advance(0);
    stop.abort();
    expect(await failure).toMatchObject({ code: 'ABORTED' });
    expect(requests[0]?.signal.aborted).toBe(true);
    expect(clock.pendingTimers).toBe(0);
  });
});
