import { describe, expect, it } from 'vitest';
import type { Credentials, CredentialsSource } from '../../src/index.js';
import { memoryStorage } from '../../src/index.js';
import { managerOnFake } from '../support/manager-on-fake.js';
import { rejection } from '../support/rejection.js';

const alice = '@alice:hs.test';
const roomId = '!room:hs.test';

/** An application's table, which notes what is done to it and fails when told to. */
class Table {
  readonly rows = new Map<string, Credentials>();
  readonly calls: string[] = [];
  fail: ((call: string) => unknown) | undefined;

  async get(userId: string) {
    this.calls.push('get');
    return this.rows.get(userId);
  }

  async set(userId: string, credentials: Credentials) {
    this.calls.push('set');
    await this.fail?.('set');
    this.rows.set(userId, credentials);
  }

  async delete(userId: string) {
    this.calls.push('delete');
    this.rows.delete(userId);
  }
}

/** Alice in the application's table only, with a refresh token that works once, on a homeserver without an admin. */
async function setUp(source: (table: Table) => CredentialsSource = (table) => table, table = new Table()) {
  const { fake, make, ...rest } = managerOnFake();
  const password = 'her own';
  fake.createUser({ username: 'alice', password });
  const answer = await fake.fetch(`${fake.baseUrl}/_matrix/client/v3/login`, {
    method: 'POST',
    body: JSON.stringify({
      type: 'm.login.password',
      identifier: { type: 'm.id.user', user: alice },
      password,
      device_id: 'D',
      refresh_token: true,
    }),
  });
  const login = (await answer.json()) as { access_token: string; refresh_token: string };
  const first = { userId: alice, accessToken: login.access_token, deviceId: 'D', refreshToken: login.refresh_token };
  table.rows.set(alice, first);
  /** A manager of a process of its own: the default storage is gone with the one before. */
  const process = () =>
    make({ storage: memoryStorage(), credentials: source(table), admin: undefined as never, serverName: 'hs.test' });
  /** Whether Alice's session works: she is in no room. */
  const read = (manager: ReturnType<typeof process>) =>
    rest.soon(rejection(manager.getRoomMessages({ userId: alice, roomId }))).then(({ code }) => code);
  return { ...rest, fake, table, first, process, read };
}

/** Lets Alice's access token run out, which lives for five minutes. */
const HOUR_MS = 3_600_000;

describe('credentials as { get, set, delete }', () => {
  it('survive restarts: each renewed refresh token is kept before it is used', async () => {
    const { clock, fake, table, first, process, read } = await setUp();
    for (let life = 0; life < 4; life++) {
      await clock.advance(HOUR_MS);
      const manager = process();
      expect(await read(manager)).toBe('FORBIDDEN');
      await manager.shutdown();
    }
    expect(fake.countRequests('/refresh')).toBe(4);
    expect(table.rows.get(alice)).toMatchObject({ deviceId: 'D' });
    expect(table.rows.get(alice)?.refreshToken).not.toBe(first.refreshToken);
  });

  it('get the new token before any request carries it', async () => {
    const table = new Table();
    const { clock, fake, process, read } = await setUp(undefined, table);
    await clock.advance(HOUR_MS);
    let carried = 0;
    table.fail = async () => {
      await new Promise((resolve) => setImmediate(resolve));
      carried = fake.countRequests(({ endpoint, status }) => endpoint !== '/refresh' && status === 403);
    };
    expect(await read(process())).toBe('FORBIDDEN');
    expect(carried).toBe(0);
    expect(table.calls.filter((call) => call === 'set')).toHaveLength(1);
  });

  it('are set by provisionUser and by a start with a token, and not with what they gave themselves', async () => {
    const table = new Table();
    const { manager, fake, soon } = managerOnFake({ credentials: table });
    const { created: _, ...credentials } = await manager.provisionUser({ username: 'alice' });
    expect(table.rows.get(alice)).toEqual(credentials);
    const bob = fake.createUser({ username: 'bob' });
    await soon(manager.startClient({ userId: bob.userId, accessToken: bob.accessToken }));
    expect(table.rows.get(bob.userId)).toEqual(bob);
    const { accessToken } = fake.openSession(alice, credentials.deviceId);
    table.rows.set(alice, { ...credentials, accessToken });
    fake.killToken(credentials.accessToken);
    await rejection(soon(manager.getRoomMessages({ userId: alice, roomId })));
    expect(table.calls.filter((call) => call === 'set')).toHaveLength(2);
    await soon(manager.shutdown());
  });

  it.each([
    [
      'throws',
      () => {
        throw new Error('no');
      },
    ],
    ['rejects', () => Promise.reject(new Error('no'))],
    ['hangs', () => new Promise(() => {})],
  ])('whose set %s cost no session: the token is in storage, is used, and is offered again', async (_title, fail) => {
    const table = new Table();
    const { clock, process, read, first, logger } = await setUp(undefined, table);
    await clock.advance(HOUR_MS);
    table.fail = fail;
    const manager = process();
    expect(await read(manager)).toBe('FORBIDDEN');
    expect(table.calls.filter((call) => call === 'set').length).toBeGreaterThanOrEqual(3);
    expect(table.rows.get(alice)).toEqual(first);
    table.fail = undefined;
    await clock.advance(HOUR_MS / 4);
    expect(table.rows.get(alice)?.refreshToken).not.toBe(first.refreshToken);
    expect(logger.entries.some(({ level }) => level === 'error')).toBe(true);
    await manager.shutdown();
    expect(clock.pendingTimers).toBe(0);
    expect(await read(process())).toBe('FORBIDDEN');
  });

  it('that fail once are set again before the token is used', async () => {
    const table = new Table();
    const { clock, process, read, logger } = await setUp(undefined, table);
    await clock.advance(HOUR_MS);
    table.fail = () => {
      table.fail = undefined;
      throw new Error('once');
    };
    expect(await read(process())).toBe('FORBIDDEN');
    expect(table.calls.filter((call) => call === 'set')).toHaveLength(2);
    expect(logger.entries.some(({ level }) => level === 'error')).toBe(false);
  });

  it('that keep failing do not hold up a shutdown', async () => {
    const table = new Table();
    const { clock, process, read, soon } = await setUp(undefined, table);
    await clock.advance(HOUR_MS);
    table.fail = () => new Promise(() => {});
    const manager = process();
    await read(manager);
    await soon(manager.shutdown());
    expect(clock.pendingTimers).toBe(0);
  });

  it('never show a token in the log', async () => {
    const table = new Table();
    const { clock, process, read, logger } = await setUp(undefined, table);
    await clock.advance(HOUR_MS);
    table.fail = () => Promise.reject(new Error('no'));
    await read(process());
    expect(JSON.stringify(logger.entries)).not.toMatch(/syt_|syr_/);
  });

  it.each([{}, { get: () => undefined }, { get: 1, set: 1, delete: 1 }, 'text', 5])(
    'are refused when they are %j',
    (bad) => {
      expect(() => managerOnFake({ credentials: bad as never })).toThrow(/`credentials`/);
    },
  );
});

describe('credentials as a function alone', () => {
  it('with a refresh token warn once, and the event credentialsChanged brings what is new', async () => {
    const { clock, first, process, read, logger } = await setUp((table) => (userId) => table.get(userId));
    const manager = process();
    const changed: { userId: string; credentials: Credentials }[] = [];
    manager.on('credentialsChanged', (event) => changed.push(event));
    await clock.advance(HOUR_MS);
    expect(await read(manager)).toBe('FORBIDDEN');
    await clock.advance(HOUR_MS);
    expect(await read(manager)).toBe('FORBIDDEN');
    expect(changed).toMatchObject([
      { userId: alice, credentials: { userId: alice, deviceId: 'D', refreshToken: expect.stringMatching(/^syr_/) } },
      { userId: alice },
    ]);
    expect(changed[0]?.credentials.refreshToken).not.toBe(first.refreshToken);
    const warnings = logger.entries.filter(({ message }) => message.includes('credentialsChanged'));
    expect(warnings).toMatchObject([{ level: 'warn' }]);
    expect(JSON.stringify(warnings)).not.toMatch(/syt_|syr_/);
  });

  it('without a refresh token warn of nothing', async () => {
    const { manager, fake, soon, logger } = managerOnFake({ credentials: () => undefined });
    await manager.provisionUser({ username: 'alice' });
    fake.killTokens(alice);
    await rejection(soon(manager.getRoomMessages({ userId: alice, roomId })));
    expect(logger.entries.filter(({ level }) => level === 'warn')).toEqual([]);
  });
});

describe("the application's credentials that misbehave", () => {
  it('and never come are TIMEOUT after 30 seconds, and the user is not stuck', async () => {
    let hang = true;
    const { manager, soon } = managerOnFake({
      credentials: () => (hang ? new Promise<undefined>(() => {}) : undefined),
    });
    expect(await rejection(soon(manager.provisionUser({ username: 'alice' })))).toMatchObject({ code: 'TIMEOUT' });
    hang = false;
    await expect(soon(manager.provisionUser({ username: 'alice' }))).resolves.toMatchObject({ userId: alice });
  });

  it.each(['provisionUser', 'getRoomMessages'] as const)(
    'and wait for %s of the same user are refused',
    async (call) => {
      const { make, soon } = managerOnFake();
      const manager = make({
        credentials: async (userId) => {
          if (call === 'provisionUser') return manager.provisionUser({ username: 'alice' });
          await manager.getRoomMessages({ userId, roomId });
          return undefined;
        },
      });
      for (const outer of [
        (): Promise<unknown> => manager.provisionUser({ username: 'alice' }),
        (): Promise<unknown> => manager.startClient({ userId: alice }),
      ]) {
        const error = await rejection(soon(outer()));
        expect(error).toMatchObject({ code: 'INVALID_OPTIONS', userId: alice });
        expect(error.message).toContain('return undefined');
      }
    },
  );

  it('may provision another user', async () => {
    const { make, soon } = managerOnFake();
    const manager = make({
      credentials: async (userId) => {
        if (userId === alice) await manager.provisionUser({ username: 'bob' });
        return undefined;
      },
    });
    await expect(soon(manager.provisionUser({ username: 'alice' }))).resolves.toMatchObject({ userId: alice });
  });
});
