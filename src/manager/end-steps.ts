import { orTimeout } from '../core/abort.js';
import type { Clock } from '../core/clock.js';
import { MatrixClientManagerError } from '../core/errors.js';
import { runAllSteps } from '../core/run-all-steps.js';
import type { Logger } from '../core/logger.js';

/** One step of a shutdown. */
export interface EndStep {
  /** Name of the step in errors and log lines, such as `closing the storage`. */
  readonly doing: string;
  readonly run: () => unknown;
  /** Time-out of the step, in milliseconds. @default 30_000 */
  readonly timeoutMs?: number;
}

const STEP_TIMEOUT_MS = 30_000;

/**
 * Runs all steps of a shutdown in order, each with its time-out. A failed step does not prevent the later ones, so that
 * a transport that fails to close does not leave the storage open. Logs each failure. After the last step, rejects with
 * the failure, or with an AggregateError of several.
 */
export async function runEndSteps(
  steps: readonly EndStep[],
  { clock, logger }: { readonly clock: Clock; readonly logger: Logger },
): Promise<void> {
  const bounded = steps.map(({ doing, run, timeoutMs = STEP_TIMEOUT_MS }) => async (): Promise<void> => {
    const step = (async () => void (await run()))(); // turns a synchronous throw into a rejection
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
