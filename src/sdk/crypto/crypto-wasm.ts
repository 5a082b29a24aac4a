import type { Logger } from '../../core/logger.js';

type Instantiate = (source: object, imports?: Readonly<Record<string, object>>) => Promise<unknown>;

/** The JavaScript module whose functions the SDK's WebAssembly imports. */
const GLUE_MODULE = './matrix_sdk_crypto_wasm_bg.js';
const QUEUE_MICROTASK = /^__wbg_queueMicrotask_/;
const MAX_PANICS_IN_A_ROW = 10;

const webAssembly = (globalThis as unknown as { readonly WebAssembly: { instantiate: Instantiate } }).WebAssembly;
let state: 'not loaded' | 'contained' | 'loaded by others' = 'not loaded';
let pendingLoads = 0;
let unwatch: (() => void) | undefined;

/**
 * Runs `init`, in which the SDK loads its WebAssembly, so that a panic in the WebAssembly does not end the process. The
 * WebAssembly runs its tasks in `queueMicrotask()`, where an exception is uncaught. A task that panics never settles;
 * the other tasks go on. If the application loaded the module earlier, panics are not caught, and a warning is logged.
 *
 * `WebAssembly.instantiate()` is wrapped, because importing the module here would load a second copy of it.
 */
export async function containPanics<T>(logger: Logger, init: () => Promise<T>): Promise<T> {
  if (state !== 'not loaded') return init();
  pendingLoads++;
  unwatch ??= watchLoading(logger);
  try {
    const result = await init();
    noteLoaded(logger);
    return result;
  } finally {
    if (--pendingLoads === 0) unwatch?.();
  }
}

/** Wraps `WebAssembly.instantiate()` until the crypto module is loaded. Other modules are loaded unchanged. */
function watchLoading(logger: Logger): () => void {
  const { instantiate } = webAssembly;
  const watched: Instantiate = (source, imports) => {
    const glue = imports?.[GLUE_MODULE];
    if (!glue) return instantiate.call(webAssembly, source, imports);
    state = 'contained';
    unwatch?.();
    return instantiate.call(webAssembly, source, { ...imports, [GLUE_MODULE]: catchingGlue(glue, logger) });
  };
  webAssembly.instantiate = watched;
  return () => {
    if (webAssembly.instantiate === watched) webAssembly.instantiate = instantiate;
    unwatch = undefined;
  };
}

function noteLoaded(logger: Logger): void {
  if (state !== 'not loaded') return;
  state = 'loaded by others';
  logger.warn({}, 'the application loaded the crypto library first: a panic in it will end the process');
}

function catchingGlue(glue: object, logger: Logger): object {
  const run = (task: () => void, panics = 0): void => {
    queueMicrotask(() => {
      try {
        task();
      } catch (error) {
        logger.error({ err: error }, 'the crypto library panicked; the call that caused it will time out');
        if (panics < MAX_PANICS_IN_A_ROW) run(task, panics + 1); // runs the tasks queued after the one that panicked
      }
    });
  };
  const entries = Object.entries(glue).map(([name, binding]: [string, unknown]) => {
    if (!QUEUE_MICROTASK.test(name)) return [name, binding];
    // Two imports have this name: one queues a task, the other gets the global object and returns its queueMicrotask.
    const original = binding as (argument: unknown) => unknown;
    return [name, (arg: unknown) => (typeof arg === 'function' ? run(arg as () => void) : original(arg))];
  });
  return Object.fromEntries(entries) as object;
}
