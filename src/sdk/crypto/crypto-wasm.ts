import type { Logger } from '../../core/logger.js';

type Instantiate = (source: object, imports?: Readonly<Record<string, object>>) => Promise<unknown>;

/** The module that the SDK's WebAssembly imports its glue from. */
const GLUE = './matrix_sdk_crypto_wasm_bg.js';
const QUEUE_MICROTASK = /^__wbg_queueMicrotask_/;
const PANICS_IN_A_ROW = 10;

const webAssembly = (globalThis as unknown as { readonly WebAssembly: { instantiate: Instantiate } }).WebAssembly;
let state: 'not loaded' | 'contained' | 'loaded by others' = 'not loaded';
let loaders = 0;
let unwatch: (() => void) | undefined;

/**
 * Runs `init`, in which the SDK loads its WebAssembly if it has not yet, so that a panic in there does not end the
 * process: it runs its tasks from `queueMicrotask()`, where what is thrown is an uncaught exception. A task that
 * panics never settles; the others go on. Where the application has loaded it before, this cannot be had, and the
 * logger is told.
 *
 * It is caught where it is loaded and not imported, because a second copy of the module would be loaded in vain.
 */
export async function containPanics<T>(logger: Logger, init: () => Promise<T>): Promise<T> {
  if (state !== 'not loaded') return init();
  loaders++;
  unwatch ??= watchLoading(logger);
  try {
    const result = await init();
    noteLoaded(logger);
    return result;
  } finally {
    if (--loaders === 0) unwatch?.();
  }
}

/** Puts itself before `WebAssembly.instantiate()` until the module comes by; others pass as they are. */
function watchLoading(logger: Logger): () => void {
  const { instantiate } = webAssembly;
  const watched: Instantiate = (source, imports) => {
    const glue = imports?.[GLUE];
    if (!glue) return instantiate.call(webAssembly, source, imports);
    state = 'contained';
    unwatch?.();
    return instantiate.call(webAssembly, source, { ...imports, [GLUE]: containedGlue(glue, logger) });
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
  logger.warn({}, 'the crypto library was loaded before by the application: a panic in it will end the process');
}

function containedGlue(glue: object, logger: Logger): object {
  const run = (task: () => void, panics = 0): void => {
    queueMicrotask(() => {
      try {
        task();
      } catch (error) {
        logger.error({ err: error }, 'the crypto library panicked; the call that did will time out');
        if (panics < PANICS_IN_A_ROW) run(task, panics + 1); // what was queued behind the one that panicked
      }
    });
  };
  const entries = Object.entries(glue).map(([name, binding]: [string, unknown]) => {
    if (!QUEUE_MICROTASK.test(name)) return [name, binding];
    // One of the two imports of that name asks whether there is a queueMicrotask at all.
    const original = binding as (of: unknown) => unknown;
    return [name, (of: unknown) => (typeof of === 'function' ? run(of as () => void) : original(of))];
  });
  return Object.fromEntries(entries) as object;
}
