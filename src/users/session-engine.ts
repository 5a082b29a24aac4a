import type { Credentials } from '../core/credentials.js';
import type { SessionEngine } from '../core/ports/user-engine.js';
import type { HomeserverContext } from '../http/homeserver-context.js';
import type { Session } from '../http/session.js';
import type { UserEncryption } from '../sdk/crypto/user-encryption.js';
import type { MatrixClient } from '../sdk/matrix-client.js';
import type * as SyncClientModule from '../sdk/sync-client.js';
import type { SyncSettings } from '../sync/sync-context.js';
import type { StoredCheckpoint } from '../storage/checkpoint.js';
import type { ClientHooks } from './client-registry.js';

/** The user of an engine. */
export interface EngineUser extends ClientHooks {
  readonly credentials: Credentials;
  readonly session: Session;
  /** The stored position, and what is needed to resume from it. */
  readonly stored: StoredCheckpoint;
  /** The device's encryption, loaded but not opened; the engine closes it when it stops. Undefined: there is none. */
  readonly encryption: UserEncryption | undefined;
}

/** Makes the engine of a user's session, which is not started yet. */
export type CreateEngine = (user: EngineUser) => SessionEngine<MatrixClient>;

let loading: Promise<typeof SyncClientModule> | undefined;

/**
 * Loads what makes engines that poll: a matrix-js-sdk client with a sync of its own for each user. It is imported at the
 * first start, because loading matrix-js-sdk takes longer than the rest of the library.
 */
export async function loadPollingEngines(context: HomeserverContext, settings: SyncSettings): Promise<CreateEngine> {
  loading ??= import('../sdk/sync-client.js').finally(() => (loading = undefined));
  const { SyncClient } = await loading;
  return (user) => new SyncClient(context, settings, user);
}

/** The import that is under way, if any. `ManualClock.advance()` waits for it. */
export function engineLoading(): Promise<unknown> | undefined {
  return loading;
}
