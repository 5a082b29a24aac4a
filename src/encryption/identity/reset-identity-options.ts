import * as v from 'valibot';
import { functionOf, optionsOf, signal } from '../../core/validation.js';
import type { AuthUploadDeviceSigningKeys } from './identity-options.js';

export interface ResetIdentityOptions {
  /** Passes the homeserver's user-interactive authentication. @default with a temporary password set by the admin */
  readonly authenticate?: AuthUploadDeviceSigningKeys | undefined;
  /** Ends the wait at once. Requests that have reached the homeserver still take effect. */
  readonly signal?: AbortSignal | undefined;
}

export const resetIdentitySchema = optionsOf<ResetIdentityOptions>({
  authenticate: v.optional(functionOf<AuthUploadDeviceSigningKeys>()),
  signal: v.optional(signal),
});
