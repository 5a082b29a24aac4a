import type { MatrixEvent } from 'matrix-js-sdk';
import type { Decryption, DecryptionFailureReason } from '../../core/decryption.js';
import type { ReceivedMessages } from '../../encryption/received-messages.js';
import type { ReceivePolicy } from '../../encryption/identity/identity-options.js';
import type { CryptoBackend, DecryptedRoomEvent } from './crypto-backend.js';
import { messageIndexOf } from './message-index.js';
import type { SenderCheck, SenderChecks } from './sender-checks.js';

type Decrypted = Extract<Decryption, { readonly state: 'decrypted' }>;

export interface DecryptionChecksOptions {
  readonly senders: Pick<SenderChecks, 'check'>;
  readonly received: Pick<ReceivedMessages, 'isReplay'>;
  readonly receive: ReceivePolicy;
}

interface CheckedEvent {
  readonly check: SenderCheck;
  /** Why the event must not be read; undefined if it may. */
  readonly refusal: DecryptionFailureReason | undefined;
}

/**
 * Checks what the crypto library has decrypted, before the SDK gets it: whether the event's sender has sent it, whether
 * it came before as another event, and whether the trust policy allows its device. The SDK drops what the library says
 * of the sender, and the library remembers no message indices.
 */
export class DecryptionChecks {
  readonly #options: DecryptionChecksOptions;
  /** What the last decryption of an event has shown. */
  readonly #checked = new WeakMap<MatrixEvent, CheckedEvent>();

  /** Wraps the decryption of `crypto`. So all events are checked, also those in the SDK's own timelines. */
  constructor(crypto: Pick<CryptoBackend, 'eventDecryptor' | 'olmMachine'>, options: DecryptionChecksOptions) {
    this.#options = options;
    const { eventDecryptor, olmMachine } = crypto;
    const attempt = eventDecryptor.attemptEventDecryption.bind(eventDecryptor);
    const decrypt = olmMachine.decryptRoomEvent.bind(olmMachine);
    /** The event whose decryption begins: the SDK calls the machine before it awaits anything. */
    let beginning: MatrixEvent | undefined;
    eventDecryptor.attemptEventDecryption = (event, ...more) => {
      beginning = event;
      const attempted = attempt(event, ...more);
      beginning = undefined;
      return attempted;
    };
    olmMachine.decryptRoomEvent = async (...args) => {
      const event = beginning;
      const decrypted = await decrypt(...args);
      if (event) await this.#check(event, decrypted);
      return decrypted;
    };
  }

  /** Why the last decryption of the event was refused, or undefined. */
  refusalOf(event: MatrixEvent): DecryptionFailureReason | undefined {
    return this.#checked.get(event)?.refusal;
  }

  /** The result of the event's successful decryption. */
  resultOf(event: MatrixEvent): Decrypted | undefined {
    const checked = this.#checked.get(event);
    if (!checked || checked.refusal) return undefined;
    const isWarned = !checked.check.isTrusted && this.#options.receive === 'warn';
    return { state: 'decrypted', sender: checked.check.sender, ...(isWarned && { warning: 'untrusted-sender' }) };
  }

  /** What was found out of the sender when the event was decrypted last, also if it was refused then. */
  senderOf(event: MatrixEvent): SenderCheck | undefined {
    return this.#checked.get(event)?.check;
  }

  /** Throws if the event must not be read. The SDK then counts it as not decrypted. */
  async #check(event: MatrixEvent, decrypted: DecryptedRoomEvent): Promise<void> {
    this.#checked.delete(event);
    const check = await this.#options.senders.check(event.getSender() ?? '', decrypted);
    const refusal = await this.#refusal(event, check);
    this.#checked.set(event, { check, refusal });
    if (refusal) throw new Error(`the event is refused: ${refusal}`);
  }

  async #refusal(event: MatrixEvent, check: SenderCheck): Promise<DecryptionFailureReason | undefined> {
    const { session_id: sessionId, ciphertext } = event.getWireContent();
    const [roomId, eventId, index] = [event.getRoomId(), event.getId(), messageIndexOf(ciphertext)];
    if (roomId === undefined || eventId === undefined || index === undefined || typeof sessionId !== 'string')
      return 'unreadable';
    if (check.isMismatch) return 'sender-mismatch';
    // The sender belongs to the place also where it is authenticated: it may not have been when the message first came.
    const place = { roomId, senderId: event.getSender() ?? '', sessionId, index };
    if (await this.#options.received.isReplay(place, eventId)) return 'replayed';
    return !check.isTrusted && this.#options.receive === 'refuse' ? 'untrusted-sender' : undefined;
  }
}
