import { invalidOptions } from '../core/errors.js';
import { describe } from '../core/ids.js';
import type { EventContent } from '../core/raw-event.js';

export const ENCRYPTION = 'm.room.encryption';

/** The content of the event that makes a room encrypted. */
export const ENCRYPTION_CONTENT: EventContent = { algorithm: 'm.megolm.v1.aes-sha2' };

/**
 * Throws `INVALID_OPTIONS` for an `m.room.encryption` event with which nobody could send to the room: encryption cannot be
 * ended, and no other algorithm exists.
 */
export function assertSupportedEncryption({ algorithm }: EventContent, name: string): void {
  if (algorithm === ENCRYPTION_CONTENT.algorithm) return;
  const expected = `\`${name}.algorithm\` of ${ENCRYPTION} to be ${String(ENCRYPTION_CONTENT.algorithm)}`;
  throw invalidOptions(`expected ${expected}, got ${describe(algorithm)}; encryption cannot be ended`);
}

/** The rooms that were seen encrypted, by any user. */
export interface SeenEncryption {
  note(rooms: Iterable<readonly [roomId: string, content: EventContent]>): void;
  noteEvents(roomId: string, events: Iterable<unknown>): void;
  has(roomId: string): Promise<boolean>;
}
