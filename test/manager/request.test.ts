import { afterEach, describe, expect, it } from 'vitest';
import type { RequestOptions } from '../../src/index.js';
import { MatrixClientManager } from '../../src/index.js';
import { EndpointLabels } from '../../src/telemetry/endpoint-labels.js';
import { managerOnFake } from '../support/manager-on-fake.js';
import { rejection } from '../support/rejection.js';
import { WatchedManager } from '../telemetry/watched-manager.js';

const open: AsyncDisposable[] = [];
afterEach(async () => {
  for (const one of open.splice(0)) await one[Symbol.asyncDispose]();
});

async function setUp() {
  const on = managerOnFake();
  open.push(on.manager, on.fake);
  const alice = on.fake.createUser({ username: 'alice' });
  await on.storage.setCredentials(alice);
  return { ...on, userId: alice.userId, alice };
}

const GET = { method: 'GET' } as const;
const whoami = { ...GET, path: '/_matrix/client/v3/account/whoami' } as const;
const room = { ...GET, path: '/_matrix/client/v3/rooms/{roomId}/state' } as const;

describe('a request that cannot be right is refused before anything is sent', () => {
  const user = { userId: '@alice:hs.test' };
  const bad: Record<string, unknown> = {
    'no options': undefined,
    'neither user nor admin': whoami,
    'both user and admin': { ...whoami, ...user, admin: true },
    'a user and no admin that is true': { ...whoami, admin: false },
    'an unknown key': { ...whoami, ...user, params: {} },
    'no method': { ...user, path: whoami.path },
    'a method in lower case': { ...whoami, ...user, method: 'get' },
    'another method': { ...whoami, ...user, method: 'CONNECT' },
    'a body on GET': { ...whoami, ...user, body: {} },
    'a body that is text': { ...whoami, ...user, method: 'PUT', body: '{}' },
    'a body that is null': { ...whoami, ...user, method: 'PUT', body: null },
    'a body with a Map': { ...whoami, ...user, method: 'PUT', body: { a: new Map() } },
    'a body with NaN': { ...whoami, ...user, method: 'PUT', body: { a: NaN } },
    'a body of ill-formed text': { ...whoami, ...user, method: 'PUT', body: { a: '\ud800' } },
    'parameters that are missing': { ...room, ...user },
    'parameters that are superfluous': { ...whoami, ...user, pathParams: { roomId: '!a:b' } },
    'an inherited parameter': { ...GET, ...user, path: '/_matrix/{constructor}' },
    'a query of an object': { ...whoami, ...user, query: { a: {} } },
    'a query of NaN': { ...whoami, ...user, query: { a: NaN } },
    'a query of null': { ...whoami, ...user, query: { a: null } },
    'a query of ill-formed text': { ...whoami, ...user, query: { a: '\ud800' } },
    'a query that is ill-formed': { ...whoami, ...user, query: { '\ud800': 'a' } },
    'a token in the query': { ...whoami, ...user, query: { access_token: 'secret' } },
    'a signal that is none': { ...whoami, ...user, signal: {} },
    'options that throw': {
      ...user,
      ...GET,
      get path() {
        throw new Error('of the caller');
      },
    },
  };
  for (const path of [
    '',
    '/',
    'https://hs.test/_matrix/client/versions',
    '//hs.test/_matrix/x',
    '/_matrix',
    '/matrix/client',
    '/_MATRIX/a',

    '/_matrix/../_synapse/admin',
    '/_matrix/./a',
    '/_matrix/%2e%2e/a',
    '/_matrix/%2E/a',
    '/_matrix/.%2e/a',
    '/_matrix/a/..',

    '/_matrix/a?b=c',
    '/_matrix/a#b',
    '/_matrix/a\\..\\b',
    '/_matrix//a',
    '/_matrix/a b',
    '/_matrix/\n',
    '/_matrix/ü',

    '/_matrix/{a',
    '/_matrix/a{b}',
    '/_matrix/{}',
    '/_matrix/{a}{b}',
    '/_matrix/\ud800',
    '/.well-known/matrix/client',
  ]) {
    bad[`the path ${JSON.stringify(path)}`] = { ...GET, ...user, path, pathParams: {} };
  }
  for (const roomId of ['', '.', '..', '../..', 'a/../b', '..\\a', '\ud800', 7, null, undefined]) {
    bad[`the parameter ${JSON.stringify(roomId)}`] = { ...room, ...user, pathParams: { roomId } };
  }

  it.each(Object.entries(bad))('%s', async (_title, options) => {
    const { manager, fake } = await setUp();
    const error = await rejection(manager.request(options as RequestOptions));
    expect(error).toMatchObject({ code: 'INVALID_OPTIONS' });
    expect(error.message).not.toContain('secret');
    expect(error.message.isWellFormed()).toBe(true);
    expect(fake.requests).toEqual([]);
  });

  it('a user id that is none', async () => {
    const { manager } = await setUp();
    expect(await rejection(manager.request({ ...whoami, userId: 'alice' }))).toMatchObject({ code: 'INVALID_USER_ID' });
  });

  it('admin, in a manager that has none', async () => {
    const { fake } = await setUp();
    const manager = new MatrixClientManager({ homeserverUrl: fake.baseUrl, fetch: fake.fetch });
    open.push(manager);
    expect(await rejection(manager.request({ ...whoami, admin: true }))).toMatchObject({ code: 'INVALID_OPTIONS' });
  });

  it('a user without credentials', async () => {
    const { manager } = await setUp();
    const error = await rejection(manager.request({ ...whoami, userId: '@bob:hs.test' }));
    expect(error).toMatchObject({ code: 'CLIENT_NOT_STARTED' });
  });
});

describe('what is sent', () => {
  it('has encoded parameters, a repeated query and a body of its own', async () => {
    const { manager, fake, userId } = await setUp();
    const path = '/_matrix/client/v3/user/{userId}/account_data/{type}';
    const body = { a: 1.5, big: 1e300, ['__proto__']: { b: 1 } };
    await manager.request({ userId, method: 'PUT', path, pathParams: { userId, type: 'a/b?c#d%2e' }, body });
    expect(fake.requests.at(-1)?.path).toBe(
      '/_matrix/client/v3/user/%40alice%3Ahs.test/account_data/a%2Fb%3Fc%23d%252e',
    );
    const query = { not_membership: ['leave', 'ban'], at: undefined };
    const roomId = fake.createRoom({ creator: userId });
    fake.kick(
      roomId,
      fake.createUser().userId.replace(/.*/, (id) => (fake.join(roomId, id), id)),
    );
    const members = '/_matrix/client/v3/rooms/{roomId}/members';
    const answer = await manager.request({ ...GET, userId, path: members, pathParams: { roomId }, query });
    expect(answer).toMatchObject({ chunk: [{ state_key: userId }] });
  });

  it('has an empty object as the body of a POST without one', async () => {
    const { manager, fake, userId } = await setUp();
    const path = '/_matrix/client/v3/createRoom';
    const created = (await manager.request({ userId, method: 'POST', path })) as { room_id: string };
    expect(fake.events(created.room_id)).not.toEqual([]);
  });

  it('is repeated where that is safe, and nowhere else', async () => {
    const { manager, fake, userId, soon, count } = await setUp();
    fake.faults.status({ endpoint: '/account/whoami', times: 2 }, { status: 503 });
    expect(await soon(manager.request({ ...whoami, userId }))).toMatchObject({ user_id: userId });
    fake.faults.status({ endpoint: '/createRoom', times: 1 }, { status: 503 });
    const create = { userId, method: 'POST', path: '/_matrix/client/v3/createRoom' } as const;
    expect(await rejection(soon(manager.request(create)))).toMatchObject({ code: 'HOMESERVER_UNAVAILABLE' });
    expect(count('/createRoom')).toBe(1);
    fake.faults.rateLimit({ endpoint: '/createRoom', times: 1 }, { retryAfterMs: 1_000 });
    await soon(manager.request(create));
    expect(count('/createRoom')).toBe(3);
  });

  it('goes through the limit of admin calls, as the admin below /_synapse/', async () => {
    const { manager, fake, clock } = await setUp();
    fake.faults.hang({ path: /_synapse/ });
    const path = '/_synapse/admin/v2/users';
    const controller = new AbortController();
    const { signal } = controller;
    const calls = [{ admin: true }, { userId: fake.admin.userId }].map((who) =>
      rejection(manager.request({ ...GET, ...who, path, signal })),
    );
    await clock.advance(0);
    expect(manager.stats().admin.running).toBe(2);
    controller.abort();
    expect(await Promise.all(calls)).toMatchObject([{ code: 'ABORTED' }, { code: 'ABORTED' }]);
    expect(manager.stats().admin).toEqual({ running: 0, waiting: 0 });
  });

  it('is not repeated in errors where it is secret', async () => {
    const { manager, fake, userId } = await setUp();
    const refusal = { errcode: 'M_UNKNOWN', error: 'hunter22 is too weak' };
    fake.faults.status({ endpoint: '/rooms/{roomId}/forget' }, { status: 400, body: refusal });
    const path = '/_matrix/client/v3/rooms/{roomId}/forget';
    const body = { new_password: 'hunter22' };
    const request = manager.request({ userId, method: 'POST', path, pathParams: { roomId: '!a:b' }, body });
    const error = await rejection(request);
    expect(error).toMatchObject({ code: 'REJECTED', roomId: '!a:b', userId });
    expect(error.message).not.toContain('hunter22');
  });
});

describe('the metric label of an endpoint', () => {
  it('is the template, and never an id', async () => {
    const watched = new WatchedManager();
    open.push({ [Symbol.asyncDispose]: () => watched.close() });
    const { fake, manager } = watched;
    const request = (path: string, pathParams = {}) =>
      manager.request({ admin: true, method: 'GET', path, pathParams }).catch(() => undefined);
    fake.faults.status({ path: /.*/ }, { status: 404, body: { errcode: 'M_NOT_FOUND' } });
    const { userId } = fake.admin;
    await request('/_matrix/client/v3/rooms/{roomId}/aliases', { roomId: '!a:hs.test' });
    await request('/_synapse/admin/v1/media/{server}/{id}', { server: 'hs.test', id: 'secret' });
    await request(`/_synapse/admin/v1/media/${userId}`);
    const points = (await watched.collect()).get('matrix.request.count') ?? [];
    const labels = points.map((point) => point.labels['endpoint']);
    expect(new Set(labels)).toEqual(
      new Set(['/_matrix/client/v3/rooms/{roomId}/aliases', '/_synapse/admin/v1/media/{server}/{id}', 'other']),
    );
  });

  it('is one of a bounded number, whatever the application calls a template', () => {
    const labels = new EndpointLabels();
    const of = (template: string): string => labels.labelOf({ path: '/_matrix/client/v1/unknown', template });
    const seen = new Set(Array.from({ length: 1_000 }, (_, n) => of(`/_matrix/media/${n}`)));
    expect(seen.size).toBe(101);
    expect(of('/_matrix/media/1')).toBe('/_matrix/media/1');
    expect(of('/_matrix/media/999')).toBe('other');
    expect(labels.labelOf({ path: '/_matrix/client/v3/sync', template: '/_matrix/client/{v}/sync' })).toBe(
      '/_matrix/client/v3/sync',
    );
  });
});

it('a request sends no message in the clear to a room that was seen encrypted', async () => {
  const { fake, manager, userId, count } = await setUp();
  const { roomId } = await manager.rooms.create({ userId, encrypted: true });
  const put = { userId, method: 'PUT' } as const;
  const body = { msgtype: 'm.text', body: 'secret' };
  const sends = [
    { path: '/_matrix/client/v3/rooms/{roomId}/send/{type}/{txnId}', type: 'm.room.message' },
    { path: '/_matrix/client/r0/rooms/{roomId}/send/{type}/{txnId}', type: 'org.example' },
  ];
  for (const { path, type } of sends) {
    const sent = manager.request({ ...put, path, pathParams: { roomId, type, txnId: 'a' }, body });
    expect(await rejection(sent)).toMatchObject({ code: 'INVALID_OPTIONS', roomId });
  }
  expect(count('/rooms/{roomId}/send/{eventType}/{txnId}')).toBe(0);
  const path = '/_matrix/client/v3/rooms/{roomId}/send/{type}/{txnId}';
  const reaction = {
    'm.relates_to': { rel_type: 'm.annotation', event_id: fake.events(roomId)[0]?.eventId, key: '1' },
  };
  await manager.request({ ...put, path, pathParams: { roomId, type: 'm.reaction', txnId: 'b' }, body: reaction });
  const clear = fake.createRoom({ creator: userId });
  await manager.request({ ...put, path, pathParams: { roomId: clear, type: 'm.room.message', txnId: 'c' }, body });
});
