import { CallbackRegistry } from '../../src/callbacks/callback-registry.js';
import { ManagerLifecycle } from '../../src/core/lifecycle.js';
import { DeadLetters } from '../../src/manager/dead-letters.js';
import { EventHub } from '../../src/manager/event-hub.js';
import { singleProcessClaims } from '../../src/core/ports/claim.js';
import type { Claim } from '../../src/core/ports/claim.js';
import type { MatrixClientManagerError } from '../../src/core/errors.js';
import type { Storage } from '../../src/storage/storage.js';
import { openGate } from '../../src/core/ports/request-gate.js';
import { noTelemetry } from '../../src/core/telemetry.js';
import { delay } from '../../src/core/abort.js';
import { fetchTransport } from '../../src/http/fetch-transport.js';
import { HomeserverHttp } from '../../src/http/homeserver-http.js';
import { ServerVersions } from '../../src/http/server-versions.js';
import { Session } from '../../src/http/session.js';
import { memoryStorage } from '../../src/storage/memory-storage.js';
import { FakeHomeserver, ManualClock, MemoryLogger } from '../../src/testing/index.js';
import { UserSession } from '../../src/users/user-session.js';
import type { UserSessionOptions } from '../../src/users/user-session.js';
import { Recorder } from './recorder.js';

/** The session of a user on a fake homeserver, without a manager. Another user says something in their room. */
export async function userSessionOnFake({
  claim,
  storage = memoryStorage(),
}: { claim?: Claim; storage?: Storage } = {}) {
  const clock = new ManualClock();
  const fake = new FakeHomeserver({ clock });
  const logger = new MemoryLogger();
  const [alice, bob] = [fake.createUser({ username: 'alice' }), fake.createUser({ username: 'bob' })];
  const roomId = fake.createRoom({ creator: alice.userId, members: [bob.userId] });
  const connections = fetchTransport(fake.fetch).open();
  const http = new HomeserverHttp({ homeserverUrl: fake.baseUrl, connections, clock, requestTimeoutMs: 30_000 });
  const closed = new AbortController();
  const deadLetters = new DeadLetters({
    storage,
    clock,
    logger,
    telemetry: { deadLetter: () => {} },
    events: new EventHub(logger),
    lifecycle: new ManagerLifecycle(),
    redeliver: async () => false,
  });
  const callbacks = new CallbackRegistry({
    clock,
    attempts: 1,
    retryDelayMs: 1,
    timeoutMs: Infinity,
    onError: () => {},
    onDeadLetter: (event, error, attempts, owner) => deadLetters.store(event, error, attempts, owner),
  });
  const recorder = new Recorder();
  callbacks.add(alice.userId, recorder.callback, { types: ['message'] });
  const settings: UserSessionOptions['settings'] = {
    clock,
    logger,
    storage,
    slidingSync: true,
    timelineLimit: 100,
    pollTimeoutMs: 30_000,
    startTimeoutMs: 60_000,
    requestTimeoutMs: 30_000,
    maxResponseBytes: 2 ** 28,
    sweepIntervalMs: 60_000,
    maxHeapBytes: Infinity,
    maxClients: Infinity,
    startConcurrency: 1,
    gapFillLimit: 1_000,
    gapFillTimeoutMs: 600_000,
    idleTimeoutMs: Infinity,
    stopTimeoutMs: 5_000,
  };
  const fatal: MatrixClientManagerError[] = [];
  const session = new UserSession({
    credentials: alice,
    session: new Session(alice.userId, alice),
    claim: claim ?? (await singleProcessClaims()(alice.userId)),
    stored: await settings.storage.loadCheckpoint(alice.userId),
    settings,
    http,
    versions: new ServerVersions(http, clock, 30_000, closed.signal),
    gate: { ...openGate, up: async () => false, pause: (delayMs, signal) => delay(clock, delayMs, signal, 'sync') },
    answersOtherRequests: () => true,
    telemetry: noTelemetry,
    callbacks,
    hooks: { onConnection: () => {}, onFatal: (error) => fatal.push(error) },
    encryption: undefined,
    onGap: () => {},
  });
  return {
    session,
    clock,
    fake,
    callbacks,
    userId: alice.userId,
    /** The errors that ended the session. */
    fatal,
    recorder,
    say: (text: string): void => void fake.sendMessage(roomId, bob.userId, text),
    [Symbol.asyncDispose]: async (): Promise<void> => {
      closed.abort();
      await fake.close();
    },
  };
}
