import * as v from 'valibot';
import type { CallbackOptions, ClientCallback } from '../callbacks/callback.js';
import { functionOf, optionsOf, signal, unchecked, userId } from '../core/call-options.js';

export interface ConnectOptions extends CallbackOptions {
  readonly userId: string;
  /** Gets the user's events from before the first sync until the connection is closed. @default none */
  readonly callback?: ClientCallback | undefined;
  /** Ends the wait at once; once connected, its `close()` is what ends it. */
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
