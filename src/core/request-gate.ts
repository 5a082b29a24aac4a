/** In what order requests go when not all may: first what somebody waits for, last what nobody misses. */
export type Priority = 'send' | 'call' | 'sync' | 'typing';

export const priorities: readonly Priority[] = ['send', 'call', 'sync', 'typing'];

/** A request that wants to go out. */
export interface Passenger {
  /** What is being done, as the start of a sentence. */
  readonly operation: string;
  /** Whose request it is; undefined for the admin's. */
  readonly userId?: string | undefined;
  readonly roomId?: string | undefined;
  /** @default 'call' */
  readonly priority?: Priority;
  readonly signal?: AbortSignal | undefined;
}

/** What every request to the homeserver passes. */
export interface RequestGate {
  /** Lets the request out in its turn. Throws `HOMESERVER_UNAVAILABLE` at once while the homeserver is down. */
  enter(passenger: Passenger): Promise<void>;
  /** Notes how a request that went out ended: no answer and 5xx are failures. */
  record(userId: string | undefined, failed: boolean): void;
}

/** Lets everything out. */
export const openGate: RequestGate = { enter: async () => {}, record: () => {} };
