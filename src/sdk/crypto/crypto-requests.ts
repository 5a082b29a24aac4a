import { calculateRetryBackoff } from 'matrix-js-sdk/lib/http-api/utils.js';
import { delay } from '../../core/abort.js';
import type { Clock } from '../../core/clock.js';
import type { CryptoBackend } from './crypto-backend.js';

/**
 * Repeats failed requests of encryption as the SDK does, until `ended` fires. The SDK's own waits of up to 16 seconds
 * outlive the client, and with them its memory and the process that is to end.
 */
export function repeatUntil(ended: AbortSignal, crypto: CryptoBackend, clock: Clock): void {
  const { outgoingRequestProcessor: processor } = crypto;
  const requestWithRetry = async (...request: unknown[]): Promise<string> => {
    for (let attempts = 1; ; attempts++) {
      try {
        return await processor.rawJsonRequest(...request);
      } catch (error) {
        const backoffMs = calculateRetryBackoff(error, attempts, true);
        if (backoffMs < 0) throw error;
        await delay(clock, backoffMs, ended, 'a request of encryption');
      }
    }
  };
  Object.assign(processor, { requestWithRetry });
}
