import { encryptionContents, isObject } from '../core/raw-event.js';
import type { EventContent } from '../core/raw-event.js';
import type { SyncBody } from './sync-response.js';

/**
 * The contents of the `m.room.encryption` events of a sync, by room. Stripped state of invitations and knocks is left out:
 * the inviting user chooses it, for any room.
 */
export function* encryptionEvents({ rooms }: SyncBody): Generator<readonly [roomId: string, content: EventContent]> {
  const { join, leave } = rooms;
  for (const section of [join, leave]) {
    for (const [roomId, room] of Object.entries(section ?? {})) {
      const {
        state,
        timeline,
        'org.matrix.msc4222.state_after': stateAfter,
      } = room as Readonly<Record<string, unknown>>;
      for (const part of [state, timeline, stateAfter]) {
        if (!isObject(part) || !Array.isArray(part.events)) continue;
        for (const content of encryptionContents(part.events)) yield [roomId, content];
      }
    }
  }
}
