import type { EventContent } from '../raw-event.js';

/** A joined room, or an invitation, as far as it is known. */
export interface KnownRoom {
  readonly roomId: string;
  readonly membership: 'join' | 'invite';
  /** The content of a state event; undefined if the room has none, or it is not known. */
  state(type: string, stateKey?: string): EventContent | undefined;
  /** Ids of members who name a room without a name, at most five, without the user. */
  readonly heroes: readonly string[];
  readonly joinedCount: number;
  readonly invitedCount: number;
}
