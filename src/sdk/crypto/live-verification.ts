import { MatrixEventEvent } from 'matrix-js-sdk';
import type { MatrixEvent } from 'matrix-js-sdk';
import type { CryptoBackend } from './crypto-backend.js';

/**
 * Gives the SDK the verification events of rooms, as its own `onLiveEventFromSync()` does. That one sets a timer of
 * five minutes for each encrypted event: with it stay the stopped client in memory, and the process that is to end.
 */
export async function takeLiveEvent(crypto: CryptoBackend, event: MatrixEvent): Promise<void> {
  if (event.isState() || event.getUnsigned().transaction_id !== undefined) return;
  if (isReadable(event)) {
    if (isVerification(event)) await crypto.onKeyVerificationEvent(event);
    return;
  }
  const look = (): void => {
    if (!isReadable(event)) return;
    event.off(MatrixEventEvent.Decrypted, look);
    takeLiveEvent(crypto, event).catch(() => {}); // as if it had not come, like the SDK
  };
  event.on(MatrixEventEvent.Decrypted, look);
}

function isReadable(event: MatrixEvent): boolean {
  return !event.isEncrypted() || (event.getClearContent() !== null && !event.isDecryptionFailure());
}

function isVerification(event: MatrixEvent): boolean {
  return (
    event.getType().startsWith('m.key.verification.') || event.getContent().msgtype === 'm.key.verification.request'
  );
}
