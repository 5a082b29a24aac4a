import type * as LiveUserModule from './user-session.js';

let loading: Promise<typeof LiveUserModule> | undefined;

/** Imported at the first start: matrix-js-sdk takes longer to load than all the rest of the library. */
export function loadLiveUser(): Promise<typeof LiveUserModule> {
  loading ??= import('./user-session.js').finally(() => (loading = undefined));
  return loading;
}

/** The import that is under way, if any: `ManualClock` does not run on meanwhile. */
export function liveUserLoading(): Promise<unknown> | undefined {
  return loading;
}
