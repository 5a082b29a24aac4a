import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { MatrixClientManager, memoryStorage } from '../../src/index.js';
import type { MatrixClientManagerOptions } from '../../src/index.js';
import { fetchTransport } from '../../src/http/fetch-transport.js';
import { readOptions } from '../../src/manager/options.js';
import { FakeHomeserver } from '../../src/testing/index.js';
import { allTextOf } from '../support/all-text-of.js';
import { rejection } from '../support/rejection.js';

const valid = { homeserverUrl: 'https://matrix.example.org' };
const admin = { userId: '@admin:example.org', accessToken: 'syt_admin' };

/** Whole numbers of at least their minimum, and no more than that. */
const numbers: Record<string, number> = {
  idleTimeoutMs: 1,
  sweepIntervalMs: 1,
  maxClients: 1,
  startConcurrency: 1,
  startTimeoutMs: 1,
  stopTimeoutMs: 0,
  timelineLimit: 1,
  gapFillLimit: 0,
  callbackAttempts: 1,
  callbackRetryDelayMs: 0,
  callbackTimeoutMs: 1,
  adminConcurrency: 1,
  requestTimeoutMs: 1,
  pollTimeoutMs: 1_000,
};

const without = (object: object, name: string): object =>
  Object.assign(Object.create(null), object, { [name]: undefined });
const provisioner = { capabilities: {}, ensureUser() {}, openSession() {}, closeSession() {}, deactivateUser() {} };
const clock = { now: () => 0, setTimeout: () => 0, clearTimeout() {} };
const logger = { debug() {}, info() {}, warn() {}, error() {} };

/** Option, value, and what the message has to name when that is not the option itself. */
const bad: [string, unknown, string?][] = [
  ...[undefined, null, 5, {}, '', 'matrix.example.org', '/matrix', 'ftp://x.org', 'https://'].map(
    (url): [string, unknown] => ['homeserverUrl', url],
  ),
  ['homeserverUrl', 'https://user@matrix.example.org'],
  ['homeserverUrl', 'https://user:secret@matrix.example.org'],
  ['homeserverUrl', 'https://matrix.example.org/?access_token=secret'],
  ['homeserverUrl', 'https://matrix.example.org/#secret'],
  ...[5, {}, '', 'a b', 'http://example.org', 'example.org/'].map((name): [string, unknown] => ['serverName', name]),
  ...[null, 'admin', 5, [], true].map((value): [string, unknown] => ['admin', value]),
  ['admin', { userId: admin.userId }],
  ['admin', { userId: admin.userId, accessToken: '' }, 'admin.accessToken'],
  ['admin', { userId: admin.userId, accessToken: 5 }, 'admin.accessToken'],
  ['admin', { userId: admin.userId, password: '' }, 'admin.password'],
  ['admin', { userId: admin.userId, accessToken: 'x', password: 5 }, 'admin.password'],
  ...[null, 5, {}, 'x', () => {}].map((value): [string, unknown] => ['provisioner', value]),
  ['provisioner', without(provisioner, 'ensureUser')],
  ['provisioner', without(provisioner, 'openSession')],
  ...[null, 5, {}, 'x'].map((value): [string, unknown] => ['credentials', value]),
  ...[5, {}, 'x', () => {}].map((value): [string, unknown] => ['storage', value]),
  ['storage', without(memoryStorage(), 'commit')],
  ...[5, {}, 'x', Date, setTimeout].map((value): [string, unknown] => ['clock', value]),
  ...Object.keys(clock).map((name): [string, unknown] => ['clock', without(clock, name)]),
  ...[5, {}, 'x'].map((value): [string, unknown] => ['logger', value]),
  ...Object.keys(logger).map((name): [string, unknown] => ['logger', without(logger, name)]),
  ...[null, 5, {}, 'true'].map((value): [string, unknown] => ['slidingSync', value]),
  ...[5, {}, 'x'].map((value): [string, unknown] => ['fetch', value]),
  ...[5, {}, 'x', () => {}].map((value): [string, unknown] => ['transport', value]),
  ...Object.entries(numbers).flatMap(([name, min]) =>
    [min - 1, -1, 0.5, min + 0.5, NaN, -Infinity, '5', true, {}, 2n ** 70n, 2 ** 60].map((value): [string, unknown] => [
      name,
      value,
    ]),
  ),
  ...Object.keys(numbers)
    .filter((name) => !['idleTimeoutMs', 'maxClients', 'callbackTimeoutMs'].includes(name))
    .map((name): [string, unknown] => [name, Infinity]),
  ...['admin', 'provisioner', 'credentials', 'storage', 'rateLimit', 'encryption', 'clock', 'logger', 'fetch'].map(
    (name): [string, unknown] => [name, 'syt_secret'],
  ),
  ['admin', { ...admin, deviceID: 'syt_secret' }, 'admin.deviceID'],
  ['rateLimit', { perSecond: 0 }, 'rateLimit.perSecond'],
  ['adminRateLimit', { perSecond: 5, burst: null }, 'adminRateLimit.burst'],
  ['idleTimeout', 5],
  ['homeserverURL', 'https://x.org'],
  ['accessToken', 'syt_secret'],
];

describe('a bad option', () => {
  const original = globalThis.fetch;
  let requests = 0;
  beforeEach(() => {
    requests = 0;
    globalThis.fetch = () => {
      requests++;
      return Promise.reject(new Error('no request may be sent'));
    };
  });
  afterEach(() => void (globalThis.fetch = original));

  it.each(bad)('%s: %o is refused by name, and nothing is sent', async (option, value, name = option) => {
    const options = { ...valid, [option]: value };
    const error = await rejection(() => new MatrixClientManager(options));
    expect(error).toMatchObject({ code: 'INVALID_OPTIONS' });
    expect(error.message).toContain(`\`${name}\``);
    expect(error.message.length).toBeLessThan(700);
    expect(allTextOf(error)).not.toContain('secret');
    expect(requests).toBe(0);
  });

  it.each(['admin', '', 5, undefined, '@admin', 'admin:example.org'])(
    'admin.userId: %j is refused, and nothing is sent',
    async (userId) => {
      const options = { ...valid, admin: { userId: userId as string, accessToken: 'syt_secret' } };
      const error = await rejection(() => new MatrixClientManager(options));
      expect(error).toMatchObject({ code: 'INVALID_USER_ID' });
      expect(allTextOf(error)).not.toContain('syt_secret');
      expect(requests).toBe(0);
    },
  );

  it.each([undefined, null, 'https://x.org', 5, []])('as a whole: %j is refused', async (options) => {
    const error = await rejection(() => new MatrixClientManager(options as unknown as MatrixClientManagerOptions));
    expect(error).toMatchObject({ code: 'INVALID_OPTIONS' });
  });

  it('is told together with those that there are when its name is unknown', async () => {
    const options = { ...valid, idleTimeOutMs: 5 };
    const { message } = await rejection(() => new MatrixClientManager(options));
    for (const name of ['idleTimeOutMs', 'idleTimeoutMs', 'homeserverUrl']) expect(message).toContain(name);
  });
});

describe('good options', () => {
  it('have the defaults that the documentation tells', () => {
    expect(readOptions(valid)).toMatchObject({
      homeserverUrl: 'https://matrix.example.org',
      serverName: 'matrix.example.org',
      idleTimeoutMs: 7_200_000,
      sweepIntervalMs: 60_000,
      maxClients: Infinity,
      startConcurrency: 8,
      timelineLimit: 100,
      callbackAttempts: 3,
    });
  });

  it('may be undefined wherever there is a default', () => {
    const names = [
      'serverName',
      'admin',
      'provisioner',
      'credentials',
      'storage',
      'clock',
      'logger',
      'fetch',
      'transport',
    ];
    const options = Object.fromEntries([...names, ...Object.keys(numbers)].map((name) => [name, undefined]));
    expect(readOptions({ ...valid, ...options })).toMatchObject({ idleTimeoutMs: 7_200_000 });
  });

  it('name one way for requests to travel, not two', () => {
    const both = { ...valid, fetch: globalThis.fetch, transport: fetchTransport(globalThis.fetch) };
    expect(() => readOptions(both)).toThrow('expected `fetch` or `transport`, got both');
  });

  it('may be at their limits', () => {
    expect(readOptions({ ...valid, ...numbers })).toMatchObject(numbers);
    const infinite = { maxClients: Infinity, idleTimeoutMs: Infinity, callbackTimeoutMs: Infinity };
    expect(readOptions({ ...valid, ...infinite })).toMatchObject(infinite);
  });

  it.each([
    [{}, 'matrix.example.org'],
    [{ homeserverUrl: 'http://localhost:8008' }, 'localhost:8008'],
    [{ homeserverUrl: 'http://[::1]:8008' }, '[::1]:8008'],
    [{ admin }, 'example.org'],
    [{ admin, serverName: 'other.org' }, 'other.org'],
  ])('name the server: %j leads to %s', (options, serverName) => {
    expect(readOptions({ ...valid, ...options }).serverName).toBe(serverName);
  });

  it('lose the slash at the end of the URL, and keep its path', () => {
    expect(readOptions({ homeserverUrl: 'https://x.org/matrix//' }).homeserverUrl).toBe('https://x.org/matrix');
  });

  it('lead to no request before the first call', () => {
    const fake = new FakeHomeserver();
    const { userId, password } = fake.admin;
    const manager = new MatrixClientManager({
      homeserverUrl: fake.baseUrl,
      admin: { userId, password },
      fetch: fake.fetch,
    });
    expect([fake.requests.length, manager.listClients().length]).toEqual([0, 0]);
  });
});
