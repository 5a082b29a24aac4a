import * as v from 'valibot';
import { flag, optionsOf } from '../core/call-options.js';

export interface ForgetUserOptions {
  /**
   * Whether to log the session out, which removes its device at the homeserver. It takes a provisioner; a logout that
   * fails is told to the logger. @default true
   */
  readonly logOut?: boolean | undefined;
}

export const forgetUserSchema = optionsOf<ForgetUserOptions>({
  logOut: v.optional(flag),
});
