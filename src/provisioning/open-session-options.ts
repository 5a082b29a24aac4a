import * as v from 'valibot';
import type { CallOptions } from '../core/call-options.js';
import type { Credentials } from '../core/credentials.js';
import { name, optionsOf, signal, userId } from '../core/validation.js';

export interface OpenSessionOptions extends CallOptions {
  readonly userId: string;
  /** Display name of the new device; other users see it. @default the option deviceName */
  readonly deviceName?: string | undefined;
}

export const openSessionSchema = optionsOf<OpenSessionOptions>({
  userId,
  deviceName: v.optional(name),
  signal: v.optional(signal),
});

export const credentialsSchema = optionsOf<Credentials>({
  userId,
  accessToken: name,
  deviceId: name,
  refreshToken: v.optional(name),
});
