import { MatrixEventEvent } from 'matrix-js-sdk';
import type { MatrixEvent } from 'matrix-js-sdk';
import type { CryptoBackend } from './crypto-backend.js';

/**
 * Replaces the SDK's `onLiveEventFromSync()`: passes a room's verification events to the SDK. The SDK's method sets a
 * timer of five minutes for each encrypted event, which would keep a stopped client and the process alive.
 */
export async function handleLiveEvent(crypto: CryptoBackend, event: MatrixEvent): Promise<void> {
  if (event.isState() || event.getUnsigned().transaction_id !== undefined) return;
  if (isReadable(event)) {
    if (isVerification(event)) await crypto.onKeyVerificationEvent(event);
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

function isVerification(event: MatrixEvent): boolean {
  return (
    event.getType().startsWith('m.key.verification.') || event.getContent().msgtype === 'm.key.verification.request'
  );
}
