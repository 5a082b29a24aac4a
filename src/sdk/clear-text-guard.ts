import type { MatrixClient, MatrixEvent, Room } from 'matrix-js-sdk';
import { MatrixClientManagerError } from '../core/errors.js';
import { isObject } from '../core/raw-event.js';
import type { EventContent } from '../core/raw-event.js';
import { isVerification } from '../core/verification-events.js';
import { mayBeSentClear } from '../core/unencrypted-types.js';

export interface ClearTextGuardOptions {
  readonly userId: string;
  readonly hasEncryption: boolean;
  /** Whether the room is known to be encrypted, from whatever source. Rejects if that cannot be found out. */
  readonly isKnownEncrypted: (roomId: string) => Promise<boolean>;
}

/** A request that sends an event which is no state event. */
const SEND_PATH = /\/rooms\/([^/]+)\/send\/([^/]+)\//;

/**
 * Keeps the SDK's own calls from sending clear text to rooms that are known to be encrypted. By itself the SDK encrypts no
 * event for a room that it lacks, no delayed event, and no repetition of an event for which it was decided before.
 */
export function refuseClearText(client: MatrixClient, options: ClearTextGuardOptions): void {
  const { userId, hasEncryption, isKnownEncrypted } = options;
  const check = async (roomId: string, type: string): Promise<void> => {
    if (mayBeSentClear(type) || !(await isKnownEncrypted(roomId))) return;
    const [code, why] = hasEncryption
      ? (['ENCRYPTION_FAILED', 'and the SDK did not encrypt the event'] as const)
      : (['ENCRYPTION_UNAVAILABLE', `and encryption is not enabled for ${userId}`] as const);
    const message = `sending to ${roomId} failed: the room is encrypted, ${why}; nothing was sent`;
    throw new MatrixClientManagerError(code, message, { userId, roomId });
  };
  const { http } = client;
  const authedRequest = http.authedRequest.bind(http) as (...args: unknown[]) => Promise<unknown>;
  Object.assign(http, {
    authedRequest: (...args: unknown[]): Promise<unknown> => {
      const [method, endpoint, , body] = args;
      const [, roomId, type] = (method === 'PUT' && SEND_PATH.exec(String(endpoint))) || [];
      if (roomId === undefined || type === undefined) return authedRequest(...args);
      // The SDK never encrypts these. The crypto library would try one that is refused again for ever, and its other
      // requests would wait.
      if (isVerification(type, contentOf(body))) return authedRequest(...args);
      return check(decodeURIComponent(roomId), decodeURIComponent(type)).then(() => authedRequest(...args));
    },
  });
  // A refusal of the request would be repeated by the SDK's queue for half a minute. This one comes at once.
  const parts = client as unknown as { encryptEventIfNeeded(event: MatrixEvent, room?: Room): Promise<void> };
  const encryptEventIfNeeded = parts.encryptEventIfNeeded.bind(client);
  parts.encryptEventIfNeeded = async (event, room) => {
    // Before the SDK refuses with an error of its own, which has no code.
    if (!hasEncryption) await check(event.getRoomId() ?? '', event.getWireType());
    await encryptEventIfNeeded(event, room);
    await check(event.getRoomId() ?? '', event.getWireType());
  };
}

/** The content in a request of the SDK; empty if it is none. */
function contentOf(body: unknown): EventContent {
  try {
    const content: unknown = typeof body === 'string' ? JSON.parse(body) : body;
    return isObject(content) ? content : {};
  } catch {
    return {};
  }
}
