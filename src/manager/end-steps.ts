import { orTimeout } from '../core/abort.js';
import type { Clock } from '../core/clock.js';
import { MatrixClientManagerError } from '../core/errors.js';
import { runAllSteps } from '../core/every-step.js';
import type { Logger } from '../core/logger.js';

/** A part of a shutdown. */
export interface EndStep {
  /** What is done, for errors: `closing the storage`. */
  readonly doing: string;
  readonly run: () => unknown;
  /** How long it may take, in milliseconds. @default 30_000 */
  readonly timeoutMs?: number;
}

const STEP_TIMEOUT_MS = 30_000;

/**
 * Takes the steps of a shutdown in order, each within its time and whatever those before it came to: a transport that
 * fails leaves no storage open. Each failure is logged; at the end rejects with it, or with an AggregateError of several.
 */
export async function endInOrder(
  steps: readonly EndStep[],
  { clock, logger }: { readonly clock: Clock; readonly logger: Logger },
): Promise<void> {
  const bounded = steps.map(({ doing, run, timeoutMs = STEP_TIMEOUT_MS }) => async (): Promise<void> => {
    const step = (async () => void (await run()))(); // one that throws at once is one that fails
    try {
      await orTimeout(step, clock, timeoutMs, () => tooLong(doing, timeoutMs));
    } catch (error) {
      logger.error({ err: error }, `shutting down: ${doing} failed`);
      throw error;
    }
  });
  await runAllSteps(bounded, 'the shutdown');
}

function tooLong(doing: string, timeoutMs: number): MatrixClientManagerError {
  return new MatrixClientManagerError('TIMEOUT', `${doing} took longer than ${timeoutMs} ms`);
}
