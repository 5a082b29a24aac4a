import type { Logger } from '../core/logger.js';

interface WebAssemblyGlobal {
  Instance: new (module: object, imports: Record<string, object>) => object;
}

/** The module that the SDK's WebAssembly imports its glue from. */
const GLUE = './matrix_sdk_crypto_wasm_bg.js';
const PANICS_IN_A_ROW = 10;
const QUEUE_MICROTASK = /^__wbg_queueMicrotask_/;

let loading: Promise<void> | undefined;

/**
 * Loads the SDK's WebAssembly so that a panic in it does not end the process: it runs its tasks from
 * `queueMicrotask()`, where what is thrown is an uncaught exception. A task that panics never settles; the others go
 * on. Where something else has loaded it before, this cannot be had, and the logger is told.
 */
export function loadCryptoWasm(logger: Logger): Promise<void> {
  loading ??= load(logger).catch((error: unknown) => {
    loading = undefined;
    throw error;
  });
  return loading;
}

async function load(logger: Logger): Promise<void> {
  const sdk = await import('@matrix-org/matrix-sdk-crypto-wasm');
  const { WebAssembly: global } = globalThis as unknown as { WebAssembly: WebAssemblyGlobal };
  const { Instance } = global;
  let contained = false;
  const onPanic = (error: unknown): void => {
    logger.error({ err: error }, 'the crypto library panicked; the call that did will time out');
  };
  class ContainedInstance extends Instance {
    constructor(module: object, imports: Record<string, object>) {
      const glue = imports[GLUE];
      super(module, glue ? { ...imports, [GLUE]: containPanics(glue, onPanic) } : imports);
      contained ||= glue !== undefined;
    }
  }
  // Nothing else runs until it is put back: the first call loads the module in one go.
  global.Instance = ContainedInstance;
  try {
    sdk.getVersions();
  } catch {
    // it is being loaded by somebody else
  } finally {
    global.Instance = Instance;
  }
  await sdk.initAsync();
  if (!contained) {
    logger.warn({}, 'the crypto library was loaded before by the application: a panic in it will end the process');
  }
}

function containPanics(glue: object, onPanic: (error: unknown) => void): object {
  const run = (task: () => void, panics = 0): void => {
    queueMicrotask(() => {
      try {
        task();
      } catch (error) {
        onPanic(error);
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
