/** A room was seen encrypted just before an attempt to send clear text to it, or to upload a file for it in the clear. */
export class BecameEncrypted extends Error {}

/** For `beforeSend` of a request in the clear, which may wait for minutes. Rejects with {@link BecameEncrypted}. */
export async function assertStillClear(wasSeenEncrypted: Promise<boolean>): Promise<void> {
  if (await wasSeenEncrypted) throw new BecameEncrypted();
}
