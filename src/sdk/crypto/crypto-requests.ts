import { calculateRetryBackoff } from 'matrix-js-sdk/lib/http-api/utils.js';
import { delay } from '../../core/abort.js';
import type { Clock } from '../../core/clock.js';
import type { CryptoBackend } from './crypto-backend.js';

/**
 * Retries failed requests of the crypto library as the SDK does, until `ended` is aborted. The SDK's timers of up to 16
 * seconds outlive a stopped client, so they would keep its memory and the process alive.
 */
export function replaceRequestRetries(ended: AbortSignal, crypto: CryptoBackend, clock: Clock): void {
  const { outgoingRequestProcessor: processor } = crypto;
  const requestWithRetry = async (...request: unknown[]): Promise<string> => {
    for (let attempts = 1; ; attempts++) {
      try {
        return await processor.rawJsonRequest(...request);
      } catch (error) {
        const backoffMs = calculateRetryBackoff(error, attempts, true);
        if (backoffMs < 0) throw error;
        await delay(clock, backoffMs, ended, 'a request of the crypto library');
      }
    }
  };
  Object.assign(processor, { requestWithRetry });
}
