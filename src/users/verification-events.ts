import type { ClientEvent } from '../core/client-event.js';
import type { EventBatch } from '../core/ports/event-source.js';
import type { RawEvent } from '../core/raw-event.js';
import { isVerification } from '../core/verification-events.js';
import type { UserEncryption } from '../sdk/crypto/user-encryption.js';

type Encryption = Pick<UserEncryption, 'decrypt' | 'receiveVerification'>;

/** Passes the live verification events of rooms to a user's encryption, if they have one. Callbacks do not get them. */
export class VerificationEvents {
  readonly #encryption: Encryption | undefined;

  constructor(encryption: Encryption | undefined) {
    this.#encryption = encryption;
  }

  /** Takes an event that is about to be delivered. @returns whether it belongs to a verification */
  take(event: ClientEvent): boolean {
    if (event.type !== 'message' || !isVerification(event.eventType, event.content)) return false;
    const { roomId, eventId, eventType: type, sender, content, timestamp, provenance, transactionId } = event;
    if (provenance !== 'live') return true;
    const isEcho = transactionId !== undefined;
    this.#encryption?.receiveVerification(roomId, { eventId, type, sender, content, timestamp, isEcho });
    return true;
  }

  /** Takes the events of a batch that is not delivered, as far as they are not encrypted. */
  takeUnencrypted({ rooms }: EventBatch): void {
    for (const { roomId, provenance, timeline } of rooms) {
      for (const event of provenance === 'live' ? timeline : []) this.#takeRaw(roomId, event);
    }
  }

  /** Takes the events of a batch that comes again later, when they are live no more. Decrypts them for that. Never rejects. */
  async takeAll(batch: EventBatch): Promise<void> {
    this.takeUnencrypted(batch);
    const decrypted = batch.rooms.map(async ({ roomId, provenance, timeline }) => {
      for (const event of provenance === 'live' ? timeline : []) {
        if (event.type !== 'm.room.encrypted') continue;
        const clear = await this.#encryption?.decrypt(roomId, event).catch(() => undefined); // the client stops
        if (clear) this.#takeRaw(roomId, clear);
      }
    });
    await Promise.all(decrypted);
  }

  #takeRaw(roomId: string, event: RawEvent): void {
    const { event_id: eventId, type, sender, content, origin_server_ts: timestamp } = event;
    if (event.state_key !== undefined || !isVerification(type, content)) return;
    const isEcho = event.unsigned?.transaction_id !== undefined;
    this.#encryption?.receiveVerification(roomId, { eventId, type, sender, content, timestamp, isEcho });
  }
}
