import { Controller, Get, Inject, Injectable, Module, Param, Res, Scope } from '@nestjs/common';
import type {
  BeforeApplicationShutdown,
  DynamicModule,
  INestApplication,
  LoggerService,
  OnModuleInit,
} from '@nestjs/common';
import { APP_FILTER } from '@nestjs/core';
import { ExecutionContextHost } from '@nestjs/core/helpers/execution-context-host.js';
import { HealthCheck, HealthCheckService, TerminusModule } from '@nestjs/terminus';
import { Test } from '@nestjs/testing';
import type { ServerResponse } from 'node:http';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { MatrixClientManager, MatrixClientManagerError, memoryStorage } from '../../src/index.js';
import type { ClientEvent, ErrorCode, MatrixClientManagerOptions, Storage } from '../../src/index.js';
import {
  getMatrixToken,
  InjectMatrix,
  MatrixExceptionFilter,
  MatrixHealthIndicator,
  MatrixModule,
  nestLogger,
  OnMatrixEvent,
} from '../../src/nestjs/index.js';
import type { MatrixOptionsFactory } from '../../src/nestjs/index.js';
import type { ManagerLifecycleHooks } from '../../src/nestjs/manager-lifecycle-hooks.js';
import { pipeToSse } from '../../src/sse/index.js';
import { FakeHomeserver } from '../../src/testing/index.js';

let homeserver: FakeHomeserver;
let storage: Storage;
let apps: INestApplication[];

beforeEach(() => {
  homeserver = new FakeHomeserver();
  storage = memoryStorage();
  apps = [];
});

afterEach(async () => {
  for (const app of apps) await app.close();
  await homeserver.close();
});

function options(): MatrixClientManagerOptions {
  return { homeserverUrl: homeserver.baseUrl, admin: homeserver.admin, fetch: homeserver.fetch, storage };
}

async function start(...metadata: Parameters<typeof Test.createTestingModule>): Promise<INestApplication> {
  const testing = await Test.createTestingModule(...metadata).compile();
  const app = testing.createNestApplication({ logger: false });
  apps.push(app);
  await app.init();
  return app;
}

/** A user of the homeserver with a room, in which somebody else writes. */
async function newChat(manager: MatrixClientManager) {
  const { userId } = await manager.provisionUser({ username: 'alice' });
  const bob = homeserver.createUser({ username: `bob${homeserver.requests.length}` });
  const roomId = homeserver.createRoom({ creator: bob.userId, members: [userId] });
  return {
    userId,
    roomId,
    bobId: bob.userId,
    say: (text: string): string => homeserver.sendMessage(roomId, bob.userId, text),
  };
}

/** Collects what handlers receive, and lets a test wait for it. */
@Injectable()
class Inbox {
  readonly received: string[] = [];
  #waiting: { readonly count: number; readonly resolve: () => void } | undefined;

  add(text: string): void {
    this.received.push(text);
    if (this.#waiting && this.received.length >= this.#waiting.count) this.#waiting.resolve();
  }

  async until(count: number): Promise<string[]> {
    if (this.received.length < count) await new Promise<void>((resolve) => (this.#waiting = { count, resolve }));
    return this.received;
  }
}

describe('the manager', () => {
  @Injectable()
  class Chat {
    constructor(
      @Inject(MatrixClientManager) readonly byType: MatrixClientManager,
      @InjectMatrix() readonly byDecorator: MatrixClientManager,
    ) {}
  }

  @Injectable()
  class Config implements MatrixOptionsFactory {
    createMatrixOptions(): MatrixClientManagerOptions {
      return options();
    }
  }

  @Module({ providers: [Config], exports: [Config] })
  class ConfigModule {}

  test.each([
    ['forRoot', () => MatrixModule.forRoot(options())],
    ['useFactory', () => MatrixModule.forRootAsync({ useFactory: async () => options() })],
    [
      'useFactory with inject',
      () =>
        MatrixModule.forRootAsync({
          imports: [ConfigModule],
          inject: [Config],
          useFactory: (config: Config) => config.createMatrixOptions(),
        }),
    ],
    ['useExisting', () => MatrixModule.forRootAsync({ imports: [ConfigModule], useExisting: Config })],
    ['useClass', () => MatrixModule.forRootAsync({ useClass: Config })],
  ])('is provided by %s, and shut down with the application', async (_name, matrix) => {
    const app = await start({ imports: [matrix()], providers: [Chat] });
    const { byType, byDecorator } = app.get(Chat);
    expect(byType).toBeInstanceOf(MatrixClientManager);
    expect([byDecorator, app.get(getMatrixToken())]).toEqual([byType, byType]);
    await expect(byType.checkHealth()).resolves.toMatchObject({ status: 'ok' });
    await app.close();
    await expect(byType.checkHealth()).rejects.toMatchObject({ code: 'MANAGER_CLOSED' });
  });

  test('has siblings with names, one per tenant', async () => {
    const tenant = (name: string) => MatrixModule.forRoot({ name, ...options(), storage: memoryStorage() });
    @Injectable()
    class Tenants {
      constructor(
        @InjectMatrix('a') readonly a: MatrixClientManager,
        @InjectMatrix('b') readonly b: MatrixClientManager,
        @InjectMatrix() readonly main: MatrixClientManager,
      ) {}
    }
    const app = await start({
      imports: [tenant('a'), tenant('b'), MatrixModule.forRoot(options())],
      providers: [Tenants],
    });
    const { a, b, main } = app.get(Tenants);
    expect(new Set([a, b, main]).size).toBe(3);
    await app.close();
    for (const manager of [a, b, main]) {
      await expect(manager.checkHealth()).rejects.toMatchObject({ code: 'MANAGER_CLOSED' });
    }
  });

  test('stays in its module with `isGlobal: false`', async () => {
    const matrix = MatrixModule.forRoot({ ...options(), isGlobal: false });
    @Module({ imports: [matrix], providers: [Chat], exports: [Chat] })
    class ChatModule {}
    const app = await start({ imports: [ChatModule] });
    expect(app.get(Chat).byType).toBeInstanceOf(MatrixClientManager);
    await expect(start({ imports: [ChatModule], providers: [Chat] })).rejects.toThrow(/dependencies/);
  });

  test.each([undefined, 'a'])('is refused if another one has its name: %s', async (name) => {
    const imports = [MatrixModule.forRoot({ name, ...options() }), MatrixModule.forRoot({ name, ...options() })];
    await expect(start({ imports })).rejects.toMatchObject({ code: 'INVALID_OPTIONS' });
    const [twice] = imports as [DynamicModule, DynamicModule];
    await expect(start({ imports: [twice, twice] })).resolves.toBeDefined();
  });

  test.each([[{}], [{ useFactory: options, useClass: Config }]])(
    'needs exactly one source of options: %o',
    (given: object) => {
      expect(() => MatrixModule.forRootAsync(given)).toThrow(expect.objectContaining({ code: 'INVALID_OPTIONS' }));
    },
  );
});

describe('the shutdown of the application', () => {
  test('ends open streams of events, which would keep it waiting for ever', async () => {
    @Controller()
    class Events {
      constructor(@InjectMatrix() readonly manager: MatrixClientManager) {}

      @Get('/events/:userId')
      async events(@Param('userId') userId: string, @Res() response: ServerResponse): Promise<void> {
        await pipeToSse(await this.manager.connect({ userId }), response);
      }
    }
    const app = await start({ imports: [MatrixModule.forRoot(options())], controllers: [Events] });
    await app.listen(0, '127.0.0.1');
    const { userId } = await newChat(app.get(MatrixClientManager));
    const response = await fetch(`${await app.getUrl()}/events/${encodeURIComponent(userId)}`);
    const [text] = await Promise.all([response.text(), app.close()]);
    expect(text).toContain('retry: 3000');
  });

  test('ends handlers before the hooks that close what they use', async () => {
    let status: Promise<unknown> | undefined;
    @Injectable()
    class Database implements BeforeApplicationShutdown {
      constructor(@InjectMatrix() readonly manager: MatrixClientManager) {}

      beforeApplicationShutdown(): void {
        status = this.manager.checkHealth().catch(({ code }: MatrixClientManagerError) => code);
      }
    }
    const app = await start({ imports: [MatrixModule.forRoot(options())], providers: [Database] });
    await app.close();
    expect(await status).toBe('MANAGER_CLOSED');
  });

  test('reports a failure of the manager in the last hook, so that no hook is left out', async () => {
    vi.spyOn(storage, 'close').mockRejectedValue(new Error('the storage fails to close'));
    const app = await start({ imports: [MatrixModule.forRoot(options())] });
    const hooks = app.get<ManagerLifecycleHooks>('ManagerLifecycleHooks:');
    await expect(hooks.onModuleDestroy()).resolves.toBeUndefined();
    await expect(hooks.onApplicationShutdown()).rejects.toThrow('the storage fails to close');
  });
});

describe('@OnMatrixEvent()', () => {
  test('calls methods with events of all users, also of clients that another provider starts early', async () => {
    @Injectable()
    class Bot {
      readonly #prefix = 'bot';
      constructor(@Inject(Inbox) readonly inbox: Inbox) {}

      @OnMatrixEvent({ types: ['message'] })
      onMessage(event: ClientEvent, { signal }: { signal: AbortSignal }): void {
        if (event.type === 'message') this.inbox.add(`${this.#prefix} ${event.text} ${signal.aborted}`);
      }

      @OnMatrixEvent({ types: ['m.room.topic'] })
      @OnMatrixEvent({ types: ['m.room.name'] })
      async onName(event: ClientEvent): Promise<void> {
        if (event.type === 'state') this.inbox.add(event.eventType);
      }
    }

    @Injectable()
    class Starter implements OnModuleInit {
      constructor(@InjectMatrix() readonly manager: MatrixClientManager) {}

      async onModuleInit(): Promise<void> {
        for (const { userId } of [await this.manager.provisionUser({ username: 'alice' })]) {
          await this.manager.startClient({ userId });
        }
      }
    }

    const app = await start({ imports: [MatrixModule.forRoot(options())], providers: [Starter, Bot, Inbox] });
    const { say, roomId, bobId } = await newChat(app.get(MatrixClientManager));
    say('Hello');
    const inbox = app.get(Inbox);
    await inbox.until(1);
    homeserver.sendState(roomId, bobId, 'm.room.topic', { topic: 'T' });
    expect(await inbox.until(2)).toEqual(['bot Hello false', 'm.room.topic']);
  });

  test('names the manager, and calls inherited methods, also of controllers', async () => {
    abstract class Base {
      constructor(@Inject(Inbox) readonly inbox: Inbox) {}

      @OnMatrixEvent({ name: 'a', types: ['message'] })
      onMessage(event: ClientEvent): void {
        if (event.type === 'message') this.inbox.add(`${this.constructor.name} ${event.text}`);
      }
    }
    @Controller()
    class FromA extends Base {}
    const [a, b] = [
      MatrixModule.forRoot({ name: 'a', ...options() }),
      MatrixModule.forRoot({ name: 'b', ...options(), storage: memoryStorage() }),
    ];
    const app = await start({ imports: [a, b], controllers: [FromA], providers: [Inbox] });
    for (const name of ['b', 'a']) {
      const manager = app.get<MatrixClientManager>(getMatrixToken(name));
      const { userId, say } = await newChat(manager);
      await manager.startClient({ userId });
      say(name);
    }
    expect(await app.get(Inbox).until(1)).toEqual(['FromA a']);
  });

  test('is an error where it could never be called', async () => {
    @Injectable({ scope: Scope.REQUEST })
    class PerRequest {
      @OnMatrixEvent()
      onEvent(): void {}
    }
    const matrix = MatrixModule.forRoot(options());
    await expect(start({ imports: [matrix], providers: [PerRequest] })).rejects.toThrow(
      /@OnMatrixEvent\(\) of PerRequest.onEvent needs a provider that exists once/,
    );
    @Injectable({ scope: Scope.TRANSIENT })
    class PerInjection {
      @OnMatrixEvent()
      onEvent(): void {}
    }
    await expect(start({ imports: [matrix], providers: [PerInjection] })).rejects.toThrow(
      /PerInjection is made for each injection/,
    );
    @Injectable()
    class Elsewhere {
      @OnMatrixEvent({ name: 'x' })
      onEvent(): void {}
    }
    await expect(start({ imports: [matrix], providers: [Elsewhere] })).rejects.toThrow(
      /names the manager "x", and no MatrixModule provides it/,
    );
    @Injectable()
    class Wrong {
      @OnMatrixEvent({ types: ['nothing at all'] })
      onEvent(): void {}
    }
    await expect(start({ imports: [matrix], providers: [Wrong] })).rejects.toMatchObject({ code: 'INVALID_OPTIONS' });
  });
});

describe('over HTTP', () => {
  const failures = new Map<string, Error>([
    ['forbidden', new MatrixClientManagerError('FORBIDDEN', 'the user is not in the room')],
    ['limited', new MatrixClientManagerError('RATE_LIMITED', 'too fast', { retryAfterMs: 1_500 })],
    [
      'down',
      new MatrixClientManagerError('HOMESERVER_UNAVAILABLE', 'http://internal:8008 is down', { cause: 'secret' }),
    ],
  ]);

  @Controller()
  class Routes {
    constructor(
      @Inject(HealthCheckService) readonly health: HealthCheckService,
      @Inject(MatrixHealthIndicator) readonly matrix: MatrixHealthIndicator,
    ) {}

    @Get('/forbidden')
    forbidden(): void {
      throw failures.get('forbidden');
    }

    @Get('/limited')
    async limited(): Promise<void> {
      throw failures.get('limited');
    }

    @Get('/down')
    down(): void {
      throw failures.get('down');
    }

    @Get('/health')
    @HealthCheck()
    check() {
      return this.health.check([() => this.matrix.isHealthy()]);
    }
  }

  const logger: LoggerService & { errors: unknown[][] } = {
    errors: [],
    log: () => {},
    warn: () => {},
    error: (...args: unknown[]) => logger.errors.push(args),
  };

  async function listen(): Promise<{ app: INestApplication; get: (path: string) => Promise<Response> }> {
    logger.errors = [];
    const app = await start({
      imports: [MatrixModule.forRoot(options()), TerminusModule.forRoot({ logger: false })],
      controllers: [Routes],
      providers: [{ provide: APP_FILTER, useClass: MatrixExceptionFilter }],
    });
    app.useLogger(logger);
    await app.listen(0, '127.0.0.1');
    const url = await app.getUrl();
    return { app, get: (path) => fetch(url + path) };
  }

  test.each<[string, ErrorCode, number, string, string | null]>([
    ['/forbidden', 'FORBIDDEN', 403, 'the user is not in the room', null],
    ['/limited', 'RATE_LIMITED', 429, 'too fast', '2'],
    ['/down', 'HOMESERVER_UNAVAILABLE', 503, 'the request could not be completed', null],
  ])('an error becomes its status: %s', async (path, error, statusCode, message, retryAfter) => {
    const { get } = await listen();
    const response = await get(path);
    expect([response.status, await response.json()]).toEqual([statusCode, { statusCode, error, message }]);
    expect(response.headers.get('retry-after')).toBe(retryAfter);
    expect(logger.errors.map(([text]) => text)).toEqual(
      statusCode < 500 ? [] : ['HOMESERVER_UNAVAILABLE: http://internal:8008 is down'],
    );
    expect(JSON.stringify(logger.errors)).not.toContain('secret');
  });

  test('the health indicator tells what checkHealth() says', async () => {
    const { app, get } = await listen();
    const up = { status: 'up', health: 'ok', reasons: [] };
    expect(await (await get('/health')).json()).toMatchObject({ status: 'ok', details: { matrix: up } });
    await app.get(MatrixClientManager).shutdown();
    const response = await get('/health');
    const down = { status: 'down', health: 'down', reasons: ['MANAGER_CLOSED'] };
    expect(response.status).toBe(503);
    expect(await response.json()).toMatchObject({ status: 'error', error: { matrix: down } });
  });
});

describe('a gateway', () => {
  const error = new MatrixClientManagerError('NOT_FOUND', 'no such room');
  const failure = { status: 'error', statusCode: 404, error: 'NOT_FOUND', message: 'no such room' };
  const cause = { pattern: 'join', data: { roomId: '!a' } };
  let told: unknown[][];
  const tell = (...args: unknown[]): void => void told.push(args);
  beforeEach(() => (told = []));

  function fail(client: object, acknowledge?: (answer: object) => void): void {
    const host = new ExecutionContextHost([client, cause.data, acknowledge, cause.pattern]);
    host.setType('ws');
    new MatrixExceptionFilter().catch(error, host);
  }

  test('tells its client by the event of Nest', () => {
    fail({ emit: tell });
    expect(told).toEqual([['exception', { ...failure, cause }]]);
  });

  test('acknowledges a message whose client waits for that', () => {
    fail({ emit: () => expect.unreachable() }, tell);
    expect(told).toEqual([[failure]]);
  });

  test('tells a client of ws, whose emit stays in the process', () => {
    fail({ readyState: 1, send: tell, emit: () => expect.unreachable() });
    expect(told).toEqual([[JSON.stringify({ event: 'exception', data: { ...failure, cause } })]]);
  });

  test('leaves other transports to their own filter', () => {
    const host = new ExecutionContextHost([]);
    host.setType('rpc');
    expect(() => new MatrixExceptionFilter().catch(error, host)).toThrow(error);
  });
});

test('log entries name the manager, if it has a name', async () => {
  const contexts = new Set<unknown>();
  const collect = (...args: unknown[]): void => void contexts.add(args.at(-1));
  const matrix = [
    MatrixModule.forRoot({ name: 'a', ...options() }),
    MatrixModule.forRootAsync({
      useFactory: () => ({ ...options(), storage: memoryStorage(), logger: undefined }) as never,
    }),
  ];
  const app = await start({ imports: matrix });
  app.useLogger({ log: collect, warn: collect, error: collect, debug: collect });
  for (const token of [getMatrixToken('a'), getMatrixToken()]) {
    const manager = app.get<MatrixClientManager>(token);
    const { userId } = await newChat(manager);
    await manager.startClient({ userId });
  }
  expect([...contexts]).toEqual(['MatrixClientManager:a', 'MatrixClientManager']);
});

test('the logger adapter writes text, and no cause of an error', () => {
  const written: unknown[][] = [];
  const write =
    (level: string) =>
    (...args: unknown[]): void =>
      void written.push([level, ...args]);
  const logger = nestLogger({ log: write('log'), warn: write('warn'), error: write('error'), debug: write('debug') });
  logger.debug({}, 'a');
  logger.info({ userId: '@a:hs' }, 'b');
  logger.warn({ err: new MatrixClientManagerError('NETWORK', 'refused', { cause: new Error('secret') }) }, 'c');
  const err = new TypeError('d');
  logger.error({ err }, 'e');
  nestLogger({ log: write('log'), warn: write('warn'), error: write('error') }).debug({}, 'not written');
  expect(written).toEqual([
    ['debug', 'a'],
    ['log', 'b {"userId":"@a:hs"}'],
    ['warn', 'c {"err":"NETWORK: refused"}'],
    ['error', 'e {"err":"TypeError: d"}', err.stack],
  ]);
});

test('the logger adapter writes what an application throws, whatever it is, without secrets', () => {
  const written: string[] = [];
  const write = (text: string): void => void written.push(text);
  const logger = nestLogger({ log: write, warn: write, error: write });
  class RequestError extends Error {
    toJSON(): object {
      return { headers: { authorization: 'secret' } };
    }
  }
  const circular: Record<string, unknown> = {};
  circular['self'] = circular;
  for (const err of [new RequestError('refused'), circular, { count: 1n }]) logger.error({ userId: '@a:hs', err }, 'a');
  expect(written).toEqual([
    'a {"userId":"@a:hs","err":"Error: refused"}',
    'a {"userId":"@a:hs","err":"[object]"}',
    'a {"userId":"@a:hs","err":{"count":"1"}}',
  ]);
});
