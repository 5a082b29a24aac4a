import { whenAborted } from '../core/abort.js';
import type { Context } from '../core/context.js';
import { decryption } from '../core/decryption.js';
import type { Decrypt } from '../delivery/delivery.js';
import type { UserEncryption } from '../sdk/crypto/user-encryption.js';

/**
 * The decryption for delivery. It waits up to `decryptionTimeoutMs` for missing room keys, except for backlog events.
 */
export function eventDecryption(
  { logger, diagnostics }: Pick<Context, 'logger' | 'diagnostics'>,
  encryption: UserEncryption,
  decryptionTimeoutMs = 0,
): Decrypt {
  return async (roomId, raw, provenance, arrivedAt, signal) => {
    const wait = provenance === 'backlog' ? undefined : { until: arrivedAt + decryptionTimeoutMs, signal };
    try {
      const event = await encryption.decrypt(roomId, raw, wait);
      const result = event[decryption];
      if (result) diagnostics.publish('decryption', result);
      return event;
    } catch (error) {
      // The client is stopping. The event is delivered again by the next client.
      const { userId } = encryption;
      logger.debug({ userId, roomId, err: error }, 'decrypting an event was aborted by the stop of its client');
      await whenAborted(signal);
      return undefined;
    }
  };
}
