/** In what order requests go when not all may: first what somebody waits for, last what nobody misses. */
export type Priority = 'send' | 'call' | 'sync' | 'typing';

export const priorities: readonly Priority[] = ['send', 'call', 'sync', 'typing'];

/** A request that wants to go out. */
export interface AdmissionRequest {
  /** What is being done, as the start of a sentence. */
  readonly operation: string;
  /** Whose request it is; undefined for the admin's. */
  readonly userId?: string | undefined;
  readonly roomId?: string | undefined;
  /** @default 'call' */
  readonly priority?: Priority;
  readonly signal?: AbortSignal | undefined;
  /** Whether it is an Admin API call: those have a rate limit of their own. @default false */
  readonly admin?: boolean;
}

/** How a request that went out ended. */
export interface RequestOutcome {
  /** Whose request it was; undefined for the admin's. */
  readonly userId: string | undefined;
  /** When it went out, in milliseconds since the Unix epoch. */
  readonly sentAt: number;
  /** Whether it was a sync. */
  readonly isSync: boolean;
  /** No answer and 5xx are failures, anything else shows a homeserver at work. */
  readonly failed: boolean;
}

/** What every request to the homeserver passes. */
export interface RequestGate {
  /** Lets the request out in its turn. Throws `HOMESERVER_UNAVAILABLE` at once while the homeserver is down. */
  enter(passenger: AdmissionRequest): Promise<void>;
  /** Notes how a request that went out ended. */
  record(outcome: RequestOutcome): void;
  /** Calls `listener` once, when the homeserver goes down; returns what undoes that. */
  onceDown(listener: () => void): () => void;
}

/** Lets everything out. */
export const openGate: RequestGate = { enter: async () => {}, record: () => {}, onceDown: () => () => {} };
