import * as v from 'valibot';
import { oneOf, optionsOf, userId } from '../core/validation.js';

export interface ListSendsOptions {
  /** Only the sends of this user. @default those of all users */
  readonly userId?: string | undefined;
  /** `queued`: waiting or being sent. `failed`: refused or given up. `sent`: accepted by the homeserver. @default 'queued' */
  readonly state?: 'queued' | 'failed' | 'sent' | undefined;
}

export const listSendsSchema = optionsOf<ListSendsOptions>({
  userId: v.optional(userId),
  state: v.optional(oneOf('queued', 'failed', 'sent')),
});
