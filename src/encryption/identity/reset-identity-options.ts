import * as v from 'valibot';
import { functionOf, optionsOf, signal } from '../../core/call-options.js';
import type { AuthUploadDeviceSigningKeys } from './identity-options.js';

export interface ResetIdentityOptions {
  /** Passes the homeserver's user-interactive authentication. @default with a password that the admin sets */
  readonly authenticate?: AuthUploadDeviceSigningKeys | undefined;
  /** Ends the wait at once; what has begun at the homeserver goes on. */
  readonly signal?: AbortSignal | undefined;
}

export const resetIdentitySchema = optionsOf<ResetIdentityOptions>({
  authenticate: v.optional(functionOf<AuthUploadDeviceSigningKeys>()),
  signal: v.optional(signal),
});
