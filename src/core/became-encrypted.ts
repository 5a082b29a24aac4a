import { MatrixClientManagerError } from './errors.js';

/**
 * A room was seen encrypted just before an attempt to send clear text to it, or to upload a file for it in the clear. The
 * attempt was ended on purpose, so it counts neither as a failure of the homeserver nor as a rejected request.
 */
export class BecameEncrypted extends MatrixClientManagerError {
  constructor() {
    super('ABORTED', 'the room became encrypted before the request was sent');
  }
}

/** For `beforeSend` of a request in the clear, which may wait for minutes. Rejects with {@link BecameEncrypted}. */
export async function assertStillClear(wasSeenEncrypted: Promise<boolean>): Promise<void> {
  if (await wasSeenEncrypted) throw new BecameEncrypted();
}
