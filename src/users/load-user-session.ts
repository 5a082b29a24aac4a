import type * as UserSessionModule from './user-session.js';

let loading: Promise<typeof UserSessionModule> | undefined;

/** Imported at the first start: matrix-js-sdk takes longer to load than all the rest of the library. */
export function loadUserSession(): Promise<typeof UserSessionModule> {
  loading ??= import('./user-session.js').finally(() => (loading = undefined));
  return loading;
}

/** The import that is under way, if any: `ManualClock` does not run on meanwhile. */
export function userSessionLoading(): Promise<unknown> | undefined {
  return loading;
}
