import { MatrixEventEvent } from 'matrix-js-sdk';
import type { MatrixEvent } from 'matrix-js-sdk';
import { isVerification } from '../../core/verification-events.js';
import type { RoomVerificationEvent } from './verification-messages.js';

/**
 * Replaces the SDK's `onLiveEventFromSync()`: passes a room's verification events to `receive`. The SDK's method sets a
 * timer of five minutes for each encrypted event, which would keep a stopped client and the process alive.
 */
export function handleLiveEvent(
  event: MatrixEvent,
  receive: (roomId: string, event: RoomVerificationEvent) => void,
): void {
  const isEcho = event.getUnsigned().transaction_id !== undefined;
  // This device encrypts none of its own verification events.
  if (event.isState() || (isEcho && event.isEncrypted())) return;
  if (isReadable(event)) {
    const [eventId, roomId, sender] = [event.getId(), event.getRoomId(), event.getSender()];
    const [type, content] = [event.getType(), event.getContent()];
    if (eventId === undefined || roomId === undefined || sender === undefined) return;
    if (!isVerification(type, content)) return;
    return receive(roomId, { eventId, type, sender, content, timestamp: event.getTs(), isEcho });
  }
  const handleWhenDecrypted = (): void => {
    if (!isReadable(event)) return;
    event.off(MatrixEventEvent.Decrypted, handleWhenDecrypted);
    handleLiveEvent(event, receive);
  };
  event.on(MatrixEventEvent.Decrypted, handleWhenDecrypted);
}

function isReadable(event: MatrixEvent): boolean {
  return !event.isEncrypted() || (event.getClearContent() !== null && !event.isDecryptionFailure());
}
