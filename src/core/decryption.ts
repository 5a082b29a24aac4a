/** Why an event could not be decrypted. */
export type DecryptionFailureReason =
  /** The device has no room key for the event, or one that is valid only for later events. */
  | 'missing-key'
  /** The event is older than the device, and the device has not read the key from a key backup. */
  | 'before-device'
  /** The sender withholds the key from this device. */
  | 'withheld'
  /** The user was not in the room when the event was sent. */
  | 'not-joined'
  /** The SDK refuses the sender's device. The option `encryption.trust` is not the cause: it applies to sending. */
  | 'untrusted-sender'
  /** The event is damaged, or uses an unknown algorithm. */
  | 'unreadable';

/** The result of decrypting an event. */
export type Decryption =
  | { readonly state: 'decrypted' }
  | { readonly state: 'failed'; readonly reason: DecryptionFailureReason };

/** Key of an event's decryption result. A symbol, because a homeserver could send any string key. */
export const decryption: unique symbol = Symbol('decryption');
