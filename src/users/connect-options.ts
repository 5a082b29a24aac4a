import * as v from 'valibot';
import type { CallbackOptions, ClientCallback } from '../callbacks/callback.js';
import { functionOf, optionsOf, signal, unchecked, userId } from '../core/validation.js';

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
  types: unchecked(),
  rooms: unchecked(),
  backlog: unchecked(),
  signal: v.optional(signal),
});
