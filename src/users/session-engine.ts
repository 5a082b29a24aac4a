import type { SessionEngine } from '../core/ports/user-engine.js';
import type { HomeserverContext } from '../http/homeserver-context.js';
import type { MatrixClient } from '../sdk/matrix-client.js';
import type * as SyncClientModule from '../sdk/sync-client.js';
import type { SyncUser } from '../sdk/sync-client.js';
import type { SyncSettings } from '../sync/sync-context.js';

/** Makes the engine of a user's session, which is not started yet. */
export type CreateEngine = (user: SyncUser) => SessionEngine<MatrixClient>;

let loading: Promise<typeof SyncClientModule> | undefined;

/**
 * Loads what makes engines that poll: a matrix-js-sdk client with a sync of its own for each user. It is imported at
 * the first start, because loading matrix-js-sdk takes longer than the rest of the library.
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
