import { delay } from '../../src/core/abort.js';
import type { Clock } from '../../src/core/clock.js';
import type { Context, Limits } from '../../src/core/context.js';
import type { Logger } from '../../src/core/logger.js';
import { openGate } from '../../src/core/ports/request-gate.js';
import type { ClientGate } from '../../src/core/ports/request-gate.js';
import type { OpenTransport } from '../../src/core/ports/transport.js';
import { Diagnostics } from '../../src/core/diagnostics.js';
import type { AnswersOtherRequests } from '../../src/http/failing-time.js';
import type { HomeserverContext } from '../../src/http/homeserver-context.js';
import { HomeserverHttp } from '../../src/http/homeserver-http.js';
import { ServerVersions } from '../../src/http/server-versions.js';
import { ManualClock, MemoryLogger } from '../../src/testing/index.js';

export interface TestContextOptions<C extends Clock, L extends Logger> extends Partial<Limits> {
  readonly clock?: C;
  readonly logger?: L;
  readonly diagnostics?: Diagnostics;
}

/** The context of the parts of a manager: a clock that stands still, a logger in memory, the default limits. */
export function testContext<C extends Clock = ManualClock, L extends Logger = MemoryLogger>(
  options: TestContextOptions<C, L> = {},
): Context & { readonly clock: C; readonly logger: L } {
  const { clock = new ManualClock(), logger = new MemoryLogger() } = options;
  const { diagnostics = new Diagnostics(clock) } = options;
  const { requestTimeoutMs = 30_000, startTimeoutMs = 60_000, maxResponseBytes = 2 ** 28 } = options;
  const limits = { requestTimeoutMs, startTimeoutMs, maxResponseBytes };
  return { clock: clock as C, logger: logger as L, diagnostics, limits };
}

export interface TestHomeserverOptions<C extends Clock, L extends Logger> extends TestContextOptions<C, L> {
  readonly connections: OpenTransport;
  /** @default 'http://hs' */
  readonly homeserverUrl?: string;
  /** @default admits every request */
  readonly gate?: Partial<ClientGate>;
  /** @default it does */
  readonly answersOtherRequests?: AnswersOtherRequests;
  /** Ends the request for the versions. */
  readonly signal?: AbortSignal;
}

/** The context of the parts that send requests, with a homeserver that is up. */
export function testHomeserver<C extends Clock = ManualClock, L extends Logger = MemoryLogger>(
  options: TestHomeserverOptions<C, L>,
): HomeserverContext & { readonly clock: C; readonly logger: L } {
  const { connections, homeserverUrl = 'http://hs', signal = new AbortController().signal } = options;
  const context = testContext(options);
  const { clock } = context;
  const gate: ClientGate = {
    ...openGate,
    waitUntilUp: async () => false,
    delayUntilDown: (delayMs, until) => delay(clock, delayMs, until, 'sync'),
    ...options.gate,
  };
  const http = new HomeserverHttp(context, { homeserverUrl, connections, gate });
  const versions = new ServerVersions(context, http, signal);
  return { ...context, http, versions, gate, answersOtherRequests: options.answersOtherRequests ?? (() => true) };
}
