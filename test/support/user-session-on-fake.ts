import { CallbackRegistry } from '../../src/callbacks/callback-registry.js';
import { OnceLog } from '../../src/callbacks/once-log.js';
import { ManagerLifecycle } from '../../src/core/lifecycle.js';
import { DeadLetters } from '../../src/manager/dead-letters.js';
import { EventHub } from '../../src/manager/event-hub.js';
import type { MatrixClientManagerError } from '../../src/core/errors.js';
import { singleProcessClaims } from '../../src/core/ports/claim.js';
import { EncryptedRooms } from '../../src/encryption/encrypted-rooms.js';
import type { Claim } from '../../src/core/ports/claim.js';
import type { SessionEngine } from '../../src/core/ports/user-engine.js';
import type { MatrixClient } from '../../src/sdk/matrix-client.js';
import { memoryStorage } from '../../src/storage/memory-storage.js';
import type { Storage } from '../../src/storage/storage.js';
import { UserSession } from '../../src/users/user-session.js';
import { Recorder } from './recorder.js';
import { syncClientOf, userOnFake } from './sync-client-on-fake.js';

/** The session of a user on a fake homeserver, without a manager. */
export async function userSessionOnFake({
  claim,
  storage = memoryStorage(),
  engine,
}: { claim?: Claim; storage?: Storage; engine?: SessionEngine<MatrixClient> } = {}) {
  const user = userOnFake();
  const { userId, context, credentials, session: httpSession } = user;
  const { logger } = context;
  const deadLetters = new DeadLetters(context, {
    storage,
    events: new EventHub(logger),
    lifecycle: new ManagerLifecycle(),
    redeliver: async () => false,
  });
  const callbacks = new CallbackRegistry(context, {
    onceLog: new OnceLog(context, memoryStorage()),
    attempts: 1,
    retryDelayMs: 1,
    timeoutMs: Infinity,
    onError: () => {},
    onDeadLetter: (event, error, attempts, owner) => deadLetters.store(event, error, attempts, owner),
  });
  const recorder = new Recorder();
  callbacks.add(userId, recorder.callback, { types: ['message'] });
  const fatal: MatrixClientManagerError[] = [];
  const stored = await storage.loadCheckpoint(userId);
  const onFatal = (error: MatrixClientManagerError): void => void fatal.push(error);
  const session = new UserSession(context, {
    engine: engine ?? syncClientOf(user, stored, { onFatal }),
    credentials,
    session: httpSession,
    claim: claim ?? (await singleProcessClaims()(userId)),
    stored,
    settings: {
      ...user.settings,
      storage,
      encryptedRooms: new EncryptedRooms(context, storage),
      sweepIntervalMs: 60_000,
      maxHeapBytes: Infinity,
      maxClients: Infinity,
      startConcurrency: 1,
      gapFillLimit: 1_000,
      idleTimeoutMs: Infinity,
      stopTimeoutMs: 5_000,
    },
    callbacks,
    onFatal,
    encryption: undefined,
    onGap: () => {},
  });
  return {
    ...user,
    session,
    callbacks,
    /** The errors that ended the session. */
    fatal,
    recorder,
  };
}
