import { delay } from '../core/abort.js';
import { nextEventLoopTurn } from '../core/event-loop.js';
import { runEndSteps } from './end-steps.js';
import type { Parts } from './parts.js';

/** Ends all parts of a manager, in this order. Call it once, after `lifecycle.beginShutdown()`. */
export async function shutDown(parts: Parts): Promise<void> {
  const { accounts, callbacks, encryption, events, gate, lifecycle, sendQueue, settings, users } = parts;
  const { clock, logger, stopTimeoutMs, storage } = settings;
  const clientsTimeoutMs = stopTimeoutMs + 60_000;
  const waitForLoginsAndSends = (): Promise<unknown> =>
    Promise.all([accounts.settled(), parts.outboxResumed, sendQueue.settled()]);
  await runEndSteps(
    [
      { doing: 'finishing sends', run: () => finishSends(parts), timeoutMs: stopTimeoutMs + 1_000 },
      { doing: 'aborting calls', run: () => lifecycle.abortInFlight() },
      { doing: 'ending the homeserver probe', run: () => gate.close() },
      { doing: 'stopping the clients', run: () => users.registry.close(), timeoutMs: clientsTimeoutMs },
      { doing: 'waiting for logins and sends', run: waitForLoginsAndSends },
      { doing: 'waiting for callbacks', run: () => users.waitForDeferredStops() },
      { doing: 'closing connections', run: () => users.connections.close() },
      { doing: 'unregistering the metrics', run: () => parts.unregisterGauges() },
      { doing: 'removing callbacks', run: () => callbacks.clear() },
      { doing: 'ending requests', run: nextEventLoopTurn }, // aborted requests clear their timers in this turn
      { doing: 'closing the transport', run: () => parts.transport.close() },
      { doing: 'closing the crypto store', run: () => encryption?.close() },
      { doing: 'closing the storage', run: () => storage.close() },
    ],
    { clock, logger },
  ).finally(() => events.close());
}

/** Waits up to `stopTimeoutMs` for sends in progress. Durable sends are aborted; the next process sends them. */
async function finishSends({ outbox, sendQueue, settings }: Parts): Promise<void> {
  const { clock, stopTimeoutMs } = settings;
  const timeout = new AbortController();
  outbox.close();
  await Promise.race([
    sendQueue.settled(),
    delay(clock, stopTimeoutMs, timeout.signal, 'shutting down').catch(() => {}),
  ]);
  timeout.abort();
}
