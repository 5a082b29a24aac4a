import { describe, expect, it } from 'vitest';
import { CallbackRegistry } from '../../src/callbacks/callback-registry.js';
import { OnceLog } from '../../src/callbacks/once-log.js';
import { ManagerLifecycle } from '../../src/core/lifecycle.js';
import { memoryStorage } from '../../src/index.js';
import type { MatrixClientManagerError } from '../../src/index.js';
import { fetchTransport } from '../../src/http/fetch-transport.js';
import { Session } from '../../src/http/session.js';
import { ManualClock, MemoryUserEngine } from '../../src/testing/index.js';
import { UserSessions } from '../../src/users/user-sessions.js';
import type { UserSessionsOptions } from '../../src/users/user-sessions.js';
import { testHomeserver } from '../support/context.js';

const userId = '@alice:hs.test';
const credentials = { userId, accessToken: 'token', deviceId: 'DEVICE' };
const failure = new Error('no');

interface Trouble {
  /** Called when the keys are loaded. */
  readonly load?: () => Promise<void>;
  readonly close?: () => Promise<void>;
  readonly loadEngines?: () => Promise<void>;
  /** Called when an engine is made. */
  readonly make?: () => void;
  readonly engine?: object;
}

/** Starts the client of a user with encryption, and notes what becomes of their keys and engine. */
function starting({ load, close, loadEngines, make, engine: trouble }: Trouble) {
  const clock = new ManualClock();
  const log: string[] = [];
  const connections = fetchTransport(async () => throwing()).open();
  const context = testHomeserver({ clock, connections });
  const options = {
    settings: {
      slidingSync: false,
      timelineLimit: 1,
      pollTimeoutMs: 30_000,
      gapFillTimeoutMs: 1,
      gapFillLimit: 1,
      storage: memoryStorage(),
      sweepIntervalMs: 1_000,
      maxHeapBytes: Infinity,
      maxClients: Infinity,
      startConcurrency: 1,
      idleTimeoutMs: Infinity,
      stopTimeoutMs: 1_000,
    },
    loadEngines: async () => {
      log.push('engines');
      await loadEngines?.();
      return () => {
        make?.();
        const stop = async (): Promise<void> => void log.push('engine stopped');
        return Object.assign(new MemoryUserEngine(clock), { stop }, trouble);
      };
    },
    accounts: {
      credentialsFor: async () => {
        log.push('credentials');
        return credentials;
      },
      session: () => new Session(userId, credentials),
    },
    callbacks: new CallbackRegistry(context, {
      onceLog: new OnceLog(context, memoryStorage()),
      attempts: 1,
      retryDelayMs: 1,
      timeoutMs: Infinity,
      onError: () => {},
      onDeadLetter: async () => {},
    }),
    encryption: {
      isFor: () => true,
      load: async () => {
        await load?.();
        log.push('keys loaded');
        return {
          close: async () => {
            log.push('keys closed');
            await close?.();
          },
        };
      },
    },
    events: { emit: () => {} },
    lifecycle: new ManagerLifecycle(),
  };
  const users = new UserSessions(context, options as unknown as UserSessionsOptions);
  const started = users.registry.start(userId, {}).then(
    () => log.push('started'),
    (error: MatrixClientManagerError) =>
      log.push(`failed: ${error.code} ${(error.cause as Error | undefined)?.message}`),
  );
  return { clock, log, users, started, turn: () => clock.advance(0) };
}

const throwing = (): never => {
  throw failure;
};

describe('a start that fails leaves neither keys nor engine open', () => {
  it('when a shutdown comes while the keys are being loaded: it ends after they are closed', async () => {
    const loading = Promise.withResolvers<void>();
    const on = starting({ load: () => loading.promise });
    await on.turn();
    const closing = on.users.registry.close().then(() => on.log.push('registry closed'));
    await on.turn();
    expect(on.log).not.toContain('registry closed');
    loading.resolve();
    await closing;
    expect(on.log.slice(-4)).toEqual([
      'keys loaded',
      'keys closed',
      expect.stringContaining('MANAGER_CLOSED'),
      'registry closed',
    ]);
  });

  it('when keys never load: the shutdown waits for them, but not for ever', async () => {
    const on = starting({ load: () => new Promise(() => {}) });
    await on.turn();
    const closing = on.users.registry.close().then(() => on.log.push('registry closed'));
    await on.clock.advance(9_000);
    expect(on.log).not.toContain('registry closed');
    await on.clock.advance(2_000);
    await closing;
  });

  it('when the engine cannot be made', async () => {
    const on = starting({ make: throwing });
    await on.started;
    expect(on.log.slice(-2)).toEqual(['keys closed', 'failed: CLIENT_FAILED no']);
  });

  it('when the session cannot be made on the engine', async () => {
    const on = starting({ engine: { connect: throwing } });
    await on.started;
    expect(on.log.slice(-3)).toEqual(['engine stopped', 'keys closed', 'failed: CLIENT_FAILED no']);
  });

  it('when closing the keys fails, too: the reason of the start is reported', async () => {
    const on = starting({ make: throwing, close: () => Promise.reject(new Error('close')) });
    await on.started;
    expect(on.log.slice(-2)).toEqual(['keys closed', 'failed: CLIENT_FAILED no']);
  });

  it.each(['openEncryption', 'start'])('when %s() fails and the stop after it, too', async (step) => {
    const stop = (): Promise<void> => Promise.reject(new Error('stop'));
    const on = starting({ engine: { [step]: () => Promise.reject(failure), stop } });
    await on.started;
    expect(on.log.at(-1)).toBe('failed: CLIENT_FAILED no');
  });

  it('when the engines cannot be loaded', async () => {
    const on = starting({ loadEngines: async () => throwing() });
    await on.started;
    expect(on.log).toEqual(['engines', 'credentials', 'failed: CLIENT_FAILED no']);
  });
});

it('checks the credentials while the engines are being loaded', async () => {
  const loading = Promise.withResolvers<void>();
  const on = starting({ loadEngines: () => loading.promise });
  await on.turn();
  expect(on.log).toEqual(['engines', 'credentials']);
  loading.resolve();
  await on.started;
  expect(on.log.at(-1)).toBe('started');
});
