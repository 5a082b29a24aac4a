/** Why an event could not be decrypted. */
export type DecryptionFailureReason =
  /** Its sender has not given the key to this device. */
  | 'missing-key'
  /** It is older than the device, and no key backup has the key. */
  | 'before-device'
  /** The sender keeps the key from this device. */
  | 'withheld'
  /** The user was not in the room when it was sent. */
  | 'not-joined'
  /** The device that sent it is not trusted as `encryption` asks for. */
  | 'untrusted-sender'
  /** It is damaged, or of an unknown kind. */
  | 'unreadable';

/** What came of decrypting an encrypted event. */
export type Decryption =
  | { readonly state: 'decrypted' }
  | { readonly state: 'failed'; readonly reason: DecryptionFailureReason };

/** Where an event says what came of decrypting it. No name, since the homeserver could send one. */
export const decryption: unique symbol = Symbol('decryption');
