import * as v from 'valibot';
import { describe, expect, it } from 'vitest';
import { globalFetch } from '../../src/http/fetch-transport.js';
import { sameOriginFetch } from '../../src/http/redirects.js';
import type { Method } from '../../src/http/homeserver-http.js';
import { Session } from '../../src/http/session.js';
import { ManualClock } from '../../src/testing/manual-clock.js';
import { rejection } from '../support/rejection.js';
import { hang, json, ScriptedFetch } from '../support/scripted-fetch.js';
import { testHomeserver } from '../support/context.js';

const to = (location: string | null, status = 302): Response =>
  new Response(null, { status, headers: location === null ? {} : { Location: location } });

function setUp(...answers: ConstructorParameters<typeof ScriptedFetch>) {
  const clock = new ManualClock();
  const script = new ScriptedFetch(...answers);
  const http = testHomeserver({
    homeserverUrl: 'http://hs',
    connections: script.connections,
    clock,
    requestTimeoutMs: 10_000,
  }).http;
  const session = new Session('@a:hs', { userId: '@a:hs', accessToken: 'syt_secret', deviceId: 'D' });
  const send = (method: Method = 'GET', path = '/old'): Promise<unknown> =>
    http.request(v.object({}), {
      operation: 'looking',
      method,
      path,
      session,
      ...(method !== 'GET' && { body: { password: 'hunter2' } }),
      repeatable: true,
      retry: { attempts: 1 },
    });
  return { clock, requests: script.requests, send };
}

describe('a redirect', () => {
  it.each([301, 302, 303, 307, 308])(
    '%d inside the origin is followed by what reads, with the token',
    async (status) => {
      const { requests, send } = setUp(to('/new?x=1', status), to('newer', status), json({}));
      await send('GET', '/a/old');
      expect(requests).toMatchObject([
        { method: 'GET', url: 'http://hs/a/old', authorization: 'Bearer syt_secret' },
        { method: 'GET', url: 'http://hs/new?x=1', authorization: 'Bearer syt_secret' },
        { method: 'GET', url: 'http://hs/newer', authorization: 'Bearer syt_secret' },
      ]);
    },
  );

  it.each([
    'https://hs/old',
    'http://hs:8008/old',
    'http://evil.test/old',
    '//evil.test/old',
    'http://hs.evil.test/',
    'data:,x',
  ])('to %s is not followed, with the token or without', async (location) => {
    const { requests, send } = setUp(to(location));
    const error = await rejection(send());
    expect(error).toMatchObject({ code: 'INVALID_RESPONSE', status: 302 });
    expect(error.message).toContain('looking failed: the homeserver redirects GET /old');
    expect(error.message).toContain('homeserverUrl');
    expect(requests).toHaveLength(1);
  });

  it.each(['PUT', 'POST', 'DELETE'] as const)('of a %s is not followed, wherever it leads', async (method) => {
    for (const location of ['/new', 'http://evil.test/']) {
      const { requests, send } = setUp(to(location, 307));
      expect(await rejection(send(method))).toMatchObject({ code: 'INVALID_RESPONSE', status: 307 });
      expect(requests).toHaveLength(1);
    }
  });

  it.each([null, '', 'http://', 'http://hs:99999/'])('to %j is an error', async (location) => {
    const { requests, send } = setUp(...Array.from({ length: 10 }, () => to(location)));
    expect(await rejection(send())).toMatchObject({ code: 'INVALID_RESPONSE' });
    expect(requests.length).toBeLessThanOrEqual(6); // an empty one leads back to where it came from
  });

  it('in a circle is an error after a few rounds', async () => {
    const { requests, send } = setUp(...Array.from({ length: 10 }, () => to('/old')));
    const error = await rejection(send());
    expect(error.message).toContain('6th in a row');
    expect(requests).toHaveLength(6);
  });

  it('that was followed ends with the time limit as well', async () => {
    const { clock, requests, send } = setUp(to('/new'), hang);
    const failure = rejection(send());
    await clock.advance(10_000);
    expect(await failure).toMatchObject({ code: 'TIMEOUT' });
    expect(requests[1]?.signal.aborted).toBe(true);
    expect(clock.pendingTimers).toBe(0);
  });

  it('keeps the token of a fetch that is given address and headers apart', async () => {
    const script = new ScriptedFetch(to('/new'), json({}));
    await sameOriginFetch(script.fetch)(new URL('http://hs/old'), { headers: { authorization: 'Bearer x' } });
    expect(script.requests.map(({ url, authorization }) => [url, authorization])).toEqual([
      ['http://hs/old', 'Bearer x'],
      ['http://hs/new', 'Bearer x'],
    ]);
  });
});

describe('a fetch that follows redirects inside one origin', () => {
  it('takes method, headers and signal of a Request along', async () => {
    const script = new ScriptedFetch(to('/new'), json({}));
    const request = new Request('http://hs/old', { method: 'HEAD', headers: { authorization: 'Bearer x' } });
    await sameOriginFetch(script.fetch)(request);
    expect(script.requests).toMatchObject([
      { method: 'HEAD', url: 'http://hs/old', authorization: 'Bearer x' },
      { method: 'HEAD', url: 'http://hs/new', authorization: 'Bearer x' },
    ]);
  });

  it.each([
    ['of the call', (signal: AbortSignal) => ['http://hs/old', { signal }] as const],
    ['of a Request', (signal: AbortSignal) => [new Request('http://hs/old', { signal })] as const],
  ])('ends the second request with the signal %s', async (_title, callWith) => {
    const script = new ScriptedFetch(to('/new'), hang);
    const controller = new AbortController();
    const [input, init] = callWith(controller.signal);
    const outcome = sameOriginFetch(script.fetch)(input, init);
    outcome.catch(() => {});
    await new ManualClock().advance(0);
    expect(script.requests).toHaveLength(2);
    controller.abort(new Error('changed my mind'));
    await expect(outcome).rejects.toThrow('changed my mind');
  });

  it('goes by the method and the headers of the call before those of a Request', async () => {
    const script = new ScriptedFetch(to('/new'), json({}));
    const request = new Request('http://hs/old', { headers: { authorization: 'Bearer x' } });
    await sameOriginFetch(script.fetch)(request, { method: 'head', headers: { authorization: 'Bearer y' } });
    expect(script.requests.map(({ method, authorization }) => [method, authorization])).toEqual([
      ['HEAD', 'Bearer y'],
      ['HEAD', 'Bearer y'],
    ]);
    const writing = new ScriptedFetch(to('/new'));
    const failure = rejection(sameOriginFetch(writing.fetch)(request, { method: 'post' }));
    expect(await failure).toMatchObject({ code: 'INVALID_RESPONSE', status: 302 });
    expect(writing.requests).toHaveLength(1);
  });

  it('follows no circle', async () => {
    const script = new ScriptedFetch(...Array.from({ length: 10 }, () => to('/old')));
    const error = await rejection(sameOriginFetch(script.fetch)('http://hs/old'));
    expect(error).toMatchObject({ code: 'INVALID_RESPONSE', status: 302 });
    expect(error.message).toContain('6th in a row');
    expect(script.requests).toHaveLength(6);
  });

  it('lets go of the body of a redirect, and has the fetch below follow none', async () => {
    const cancelled: string[] = [];
    const body = new ReadableStream({ cancel: () => void cancelled.push('redirect') });
    const answers = [new Response(body, { status: 302, headers: { Location: '/new' } }), json({})];
    const modes: unknown[] = [];
    const response = await sameOriginFetch(async (_input, init) => {
      modes.push(init?.redirect);
      return answers.shift() ?? json({});
    })('http://hs/old', { redirect: 'follow' });
    expect(response.status).toBe(200);
    expect({ cancelled, modes }).toEqual({ cancelled: ['redirect'], modes: ['manual', 'manual'] });
  });
});

describe('the default fetch', () => {
  it('is the global one of the moment of the call, so that msw is seen', async () => {
    const original = globalThis.fetch;
    const script = new ScriptedFetch(json({}));
    globalThis.fetch = script.fetch;
    try {
      await globalFetch('http://hs/x');
    } finally {
      globalThis.fetch = original;
    }
    expect(script.requests).toHaveLength(1);
  });
});
