/** Why an event could not be decrypted. */
export type DecryptionFailureReason =
  /** The sender has not sent the room key to this device. */
  | 'missing-key'
  /** The event is older than the device, and the key is not in a key backup. */
  | 'before-device'
  /** The sender withholds the key from this device. */
  | 'withheld'
  /** The user was not in the room when the event was sent. */
  | 'not-joined'
  /** The sending device is not trusted as the `encryption` options require. */
  | 'untrusted-sender'
  /** The event is damaged, or uses an unknown algorithm. */
  | 'unreadable';

/** The result of decrypting an event. */
export type Decryption =
  | { readonly state: 'decrypted' }
  | { readonly state: 'failed'; readonly reason: DecryptionFailureReason };

/** Key of an event's decryption result. A symbol, because a homeserver could send any string key. */
export const decryption: unique symbol = Symbol('decryption');
