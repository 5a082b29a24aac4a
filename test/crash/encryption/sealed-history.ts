import type { TestUser } from '../../../src/testing/contracts/homeserver/test-user.js';

/** A message as the homeserver has it. */
export interface Sealed {
  readonly event_id: string;
  readonly type: string;
  readonly content: { readonly session_id?: string; readonly sender_key?: string; readonly ciphertext?: string };
}

/** All messages of a room. */
export async function sealedHistory(user: TestUser, roomId: string): Promise<Sealed[]> {
  const events = (await user.pageBack(roomId, 100)) as unknown as Sealed[];
  return events.filter(({ type }) => type.startsWith('m.room.message') || type === 'm.room.encrypted');
}

/** Messages in the clear, and message keys that were used twice. */
export function reused(sent: readonly Sealed[]): string[] {
  const used = new Map<string, string>();
  const violations: string[] = [];
  for (const { event_id: id, type, content } of sent) {
    if (type !== 'm.room.encrypted') violations.push(`${id} was sent in the clear`);
    const key = `${content.session_id} ${messageIndex(content.ciphertext ?? '')}`;
    if (used.has(key)) violations.push(`${id} and ${used.get(key)} have the same key`);
    used.set(key, id);
  }
  return violations;
}

/** @see https://gitlab.matrix.org/matrix-org/olm/-/blob/master/docs/megolm.md#message-format */
function messageIndex(ciphertext: string): number {
  const bytes = Buffer.from(ciphertext, 'base64');
  if (bytes[0] !== 3 || bytes[1] !== 0x08) throw new Error('this is no Megolm message');
  let [index, shift, at] = [0, 0, 2];
  for (let byte = 0x80; byte >= 0x80; shift += 7) {
    byte = bytes[at++] ?? 0;
    index += (byte & 0x7f) * 2 ** shift;
  }
  return index;
}
