import * as v from 'valibot';
import { flag, optionsOf } from '../core/validation.js';

export interface ForgetUserOptions {
  /**
   * Whether to log the session out, which removes its device at the homeserver. This needs a provisioner. A failed
   * logout is logged. @default true
   */
  readonly logOut?: boolean | undefined;
}

export const forgetUserSchema = optionsOf<ForgetUserOptions>({
  logOut: v.optional(flag),
});
