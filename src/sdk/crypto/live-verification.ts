import { MatrixEventEvent } from 'matrix-js-sdk';
import type { MatrixEvent } from 'matrix-js-sdk';
import type { EventContent } from '../../core/raw-event.js';
import type { CryptoBackend } from './crypto-backend.js';

/**
 * Replaces the SDK's `onLiveEventFromSync()`: passes a room's verification events to the SDK. The SDK's method sets a
 * timer of five minutes for each encrypted event, which would keep a stopped client and the process alive.
 */
export async function handleLiveEvent(crypto: CryptoBackend, event: MatrixEvent): Promise<void> {
  if (event.isState() || event.getUnsigned().transaction_id !== undefined) return;
  if (isReadable(event)) {
    if (isVerification(event.getType(), event.getContent())) await crypto.onKeyVerificationEvent(event);
    return;
  }
  const handleWhenDecrypted = (): void => {
    if (!isReadable(event)) return;
    event.off(MatrixEventEvent.Decrypted, handleWhenDecrypted);
    handleLiveEvent(crypto, event).catch(() => {}); // the SDK ignores these failures too
  };
  event.on(MatrixEventEvent.Decrypted, handleWhenDecrypted);
}

function isReadable(event: MatrixEvent): boolean {
  return !event.isEncrypted() || (event.getClearContent() !== null && !event.isDecryptionFailure());
}

/** Whether an event with this clear content belongs to a verification of devices in a room. */
export function isVerification(type: string, content: EventContent): boolean {
  if (type.startsWith('m.key.verification.')) return true;
  return type === 'm.room.message' && content.msgtype === 'm.key.verification.request';
}
