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
  /** The option `encryption.trust` does not allow the sending device, and `encryption.receive` is `refuse`. */
  | 'untrusted-sender'
  /**
   * Another user than the event's sender has sent it: the homeserver has changed the sender, or a member of the room has
   * copied it.
   */
  | 'sender-mismatch'
  /** The message was received before as another event of this sender: the homeserver or the sender has sent it again. */
  | 'replayed'
  /** The event is damaged, or uses an unknown algorithm. */
  | 'unreadable';

/** What the user's device knows of the sender of a decrypted event, at the time of its decryption. */
export interface DecryptionSender {
  /**
   * Whether the message key came from a device of the event's sender. If not, the sender is only what the homeserver
   * says, and the other properties are undefined or false. That is so for keys from a key backup, and while the sender's
   * device is unknown.
   */
  readonly authenticated: boolean;
  /** The id of the sending device. */
  readonly deviceId: string | undefined;
  /** Whether the sender has signed the device with their cross-signing keys. */
  readonly signedByOwner: boolean;
  /** Whether the user has verified the sender, and the sender has signed the device with the verified keys. */
  readonly ownerVerified: boolean;
  /**
   * Whether the sender has other cross-signing keys than those that the user's device saw first, or that the user has
   * verified, and the user has not verified the present ones.
   */
  readonly identityChanged: boolean;
}

/** The result of decrypting an event. */
export type Decryption =
  | {
      readonly state: 'decrypted';
      readonly sender: DecryptionSender;
      /** Set if `encryption.trust` does not allow the sending device, and `encryption.receive` is `warn`. */
      readonly warning?: 'untrusted-sender';
    }
  | { readonly state: 'failed'; readonly reason: DecryptionFailureReason };

/** Key of an event's decryption result. A symbol, because a homeserver could send any string key. */
export const decryption: unique symbol = Symbol('decryption');
