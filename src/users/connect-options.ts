import * as v from 'valibot';
import { callbackOptions } from '../callbacks/callback.js';
import type { CallbackOptions, ClientCallback } from '../callbacks/callback.js';
import { functionOf, optionsOf, signal, userId } from '../core/validation.js';

export interface ConnectOptions extends CallbackOptions {
  readonly userId: string;
  /** Registered before the first sync, and removed when the connection is closed. @default none */
  readonly callback?: ClientCallback | undefined;
  /** Ends the wait for the connection at once. It does not close an open connection: call `close()` for that. */
  readonly signal?: AbortSignal | undefined;
}

export const connectSchema = optionsOf<ConnectOptions>({
  userId,
  callback: v.optional(functionOf<ClientCallback>()),
  ...callbackOptions,
  signal: v.optional(signal),
});
