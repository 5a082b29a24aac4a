import * as v from 'valibot';
import { oneOf, optionsOf, userId } from '../core/call-options.js';

export interface ListSendsOptions {
  /** Only the sends of this user. @default everybody's */
  readonly userId?: string | undefined;
  /** Which sends: those under way or waiting, those refused or given up, or those that the homeserver has. @default 'queued' */
  readonly state?: 'queued' | 'failed' | 'sent' | undefined;
}

export const listSendsSchema = optionsOf<ListSendsOptions>({
  userId: v.optional(userId),
  state: v.optional(oneOf('queued', 'failed', 'sent')),
});
