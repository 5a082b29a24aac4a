const INDEX_TAG = 0x08;
/** MAC and signature at the end of a message, by its version. */
const SUFFIX_BYTES = new Map([
  [3, 8 + 64],
  [4, 32 + 64],
]);
const MOST_VARINT_BYTES = 10;

/**
 * The index of a Megolm message in its session, or undefined if the ciphertext is none. Nobody but the sender can change
 * it in a message that can be decrypted.
 * @see https://gitlab.matrix.org/matrix-org/olm/-/blob/master/docs/megolm.md
 */
export function messageIndexOf(ciphertext: unknown): number | undefined {
  if (typeof ciphertext !== 'string') return undefined;
  const bytes = Buffer.from(ciphertext, 'base64');
  const end = bytes.length - (SUFFIX_BYTES.get(bytes[0] ?? 0) ?? bytes.length);
  let index: number | undefined;
  let position = 1;
  /** A number of 7 bits per byte, as in Protocol Buffers; NaN if it is not complete. */
  const readVarint = (): number => {
    let value = 0;
    for (let i = 0; i < MOST_VARINT_BYTES && position < end; i++) {
      const byte = bytes[position++] ?? 0;
      value += (byte & 0x7f) * 2 ** (7 * i);
      if (byte < 0x80) return value;
    }
    return Number.NaN;
  };
  while (position < end) {
    const tag = readVarint();
    const value = readVarint();
    if (tag === INDEX_TAG) index = value;
    else if ((tag & 7) === 2) position += value;
    else if ((tag & 7) !== 0) return undefined;
    if (Number.isNaN(value)) return undefined;
  }
  return position === end && index !== undefined && index < 2 ** 32 ? index : undefined;
}
