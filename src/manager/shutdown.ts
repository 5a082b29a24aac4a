import { orTimeout } from '../core/abort.js';
import { MatrixClientManagerError } from '../core/errors.js';
import { nextEventLoopTurn } from '../core/event-loop.js';
import { runAllSteps } from '../core/run-all-steps.js';
import type { Parts } from './compose.js';

/** Default time-out of one step, in milliseconds. */
const STEP_TIMEOUT_MS = 30_000;

/**
 * Ends all parts of a manager, in this order. Call it once, after `lifecycle.beginShutdown()`. Each step has a
 * time-out; a failed step does not prevent the later ones, so that a transport that fails to close does not leave the
 * storage open. Logs each failure. After the last step, rejects with the failure, or with an AggregateError of several.
 */
export async function shutDown(parts: Parts): Promise<void> {
  const { accounts, callbacks, encryption, events, gate, lifecycle, sendQueue, settings, users } = parts;
  const { clock, logger, stopTimeoutMs, storage } = settings;
  const step =
    (doing: string, run: () => unknown, timeoutMs = STEP_TIMEOUT_MS) =>
    async (): Promise<void> => {
      const running = (async () => void (await run()))(); // turns a synchronous throw into a rejection
      await orTimeout(running, clock, timeoutMs, () => tooLong(doing, timeoutMs)).catch((error: unknown) => {
        logger.error({ err: error }, `shutting down: ${doing} failed`);
        throw error;
      });
    };
  const waitForLoginsAndSends = (): Promise<unknown> =>
    Promise.all([accounts.settled(), parts.outboxResumed, sendQueue.settled()]);
  await runAllSteps(
    [
      step('finishing sends', () => finishSends(parts), stopTimeoutMs + 1_000),
      step('aborting calls', () => lifecycle.abortInFlight()),
      step('ending the homeserver probe', () => gate.close()),
      step('stopping the clients', () => users.registry.close(), stopTimeoutMs + 60_000),
      step('waiting for logins and sends', waitForLoginsAndSends),
      step('waiting for callbacks', () => users.waitForDeferredStops()),
      step('closing connections', () => users.connections.close()),
      step('unregistering the metrics', () => parts.unregisterGauges()),
      step('removing callbacks', () => callbacks.clear()),
      step('ending requests', nextEventLoopTurn), // aborted requests clear their timers in this turn
      step('closing the transport', () => parts.transport.close()),
      step('closing the crypto store', () => encryption?.close()),
      step('remembering events of `once`', () => parts.onceLog.settled()),
      step('remembering encrypted rooms', () => parts.encryptedRooms.settled()),
      step('closing the storage', () => storage.close()),
    ],
    'the shutdown',
  ).finally(() => events.close());
}

/** Waits up to `stopTimeoutMs` for sends in progress. Durable sends are aborted; the next process sends them. */
async function finishSends({ outbox, sendQueue, settings }: Parts): Promise<void> {
  const { clock, stopTimeoutMs } = settings;
  outbox.close();
  const settled = orTimeout(sendQueue.settled(), clock, stopTimeoutMs, () => tooLong('sending', stopTimeoutMs));
  await settled.catch(() => {}); // the next step aborts the sends
}

function tooLong(doing: string, timeoutMs: number): MatrixClientManagerError {
  return new MatrixClientManagerError('TIMEOUT', `${doing} took longer than ${timeoutMs} ms`);
}
