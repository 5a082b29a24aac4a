import { expect } from 'vitest';

/** The index of a Megolm message: a varint behind the version and the first tag. */
export function messageIndex(ciphertext: string): number {
  const bytes = Buffer.from(ciphertext, 'base64');
  expect([bytes[0], bytes[1]]).toEqual([3, 8]);
  let index = 0;
  for (let i = 2, shift = 0; ; i++, shift += 7) {
    const byte = bytes[i] ?? 0;
    index |= (byte & 0x7f) << shift;
    if (byte < 0x80) return index;
  }
}

/** Fails where one key of a session was used for two of the events. */
export function expectEachKeyUsedOnce(contents: readonly { session_id: string; ciphertext: string }[]): void {
  const used = contents.map(({ session_id: session, ciphertext }) => `${session} ${messageIndex(ciphertext)}`);
  expect(new Set(used).size).toBe(used.length);
}
