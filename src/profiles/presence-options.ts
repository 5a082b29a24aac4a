import * as v from 'valibot';
import type { CallOptions } from '../core/call-options.js';
import { presenceStates } from '../core/presence-state.js';
import type { PresenceState } from '../core/presence-state.js';
import { oneOf, optionsOf, signal, text, userId } from '../core/validation.js';

/** Whether a user is there, as the homeserver tells. @see https://spec.matrix.org/v1.16/client-server-api/#presence */
export interface Presence {
  readonly userId: string;
  readonly presence: PresenceState;
  /** Milliseconds since the user was last active; undefined if the homeserver does not tell. */
  readonly lastActiveAgoMs: number | undefined;
  readonly statusMessage: string | undefined;
  /** Whether the user is active now; undefined if the homeserver does not tell. */
  readonly currentlyActive: boolean | undefined;
}

export interface SetPresenceOptions extends CallOptions {
  readonly userId: string;
  /** `online`, `unavailable` (there, but inactive) or `offline`. */
  readonly presence: PresenceState;
  /** A text for other users. @default none: a text that was set before is removed */
  readonly statusMessage?: string | undefined;
}

export const setPresenceSchema = optionsOf<SetPresenceOptions>({
  userId,
  presence: oneOf(...presenceStates),
  statusMessage: v.optional(text),
  signal: v.optional(signal),
});

export interface GetPresenceOptions extends CallOptions {
  /** The user who asks. */
  readonly userId: string;
  /** The user whose presence is read. @default `userId` */
  readonly targetUserId?: string | undefined;
}

export const getPresenceSchema = optionsOf<GetPresenceOptions>({
  userId,
  targetUserId: v.optional(userId),
  signal: v.optional(signal),
});
