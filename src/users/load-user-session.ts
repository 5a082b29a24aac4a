import type * as UserSessionModule from './user-session.js';

let loading: Promise<typeof UserSessionModule> | undefined;

/** Imports the module at the first start, because loading matrix-js-sdk takes longer than the rest of the library. */
export function loadUserSession(): Promise<typeof UserSessionModule> {
  loading ??= import('./user-session.js').finally(() => (loading = undefined));
  return loading;
}

/** The import that is under way, if any. `ManualClock.advance()` waits for it. */
export function userSessionLoading(): Promise<unknown> | undefined {
  return loading;
}
