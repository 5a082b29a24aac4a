/** The kinds of request, in the order in which they are admitted when a rate limit delays requests. */
export type Priority = 'send' | 'call' | 'sync' | 'typing';

export const priorities: readonly Priority[] = ['send', 'call', 'sync', 'typing'];

/** A request that asks to be admitted. */
export interface AdmissionRequest {
  /** The operation, as the subject of a sentence, such as `sending a message`. */
  readonly operation: string;
  /** The user who sends the request. Undefined for requests of the admin. */
  readonly userId?: string | undefined;
  readonly roomId?: string | undefined;
  /** @default 'call' */
  readonly priority?: Priority;
  readonly signal?: AbortSignal | undefined;
  /** Whether this is an Admin API call, which has its own rate limit. @default false */
  readonly admin?: boolean;
}

/** The outcome of a request that was sent. */
export interface RequestOutcome {
  /** The user who sent the request. Undefined for requests of the admin. */
  readonly userId: string | undefined;
  /** When the request was sent, in milliseconds since the Unix epoch. */
  readonly sentAt: number;
  /** Whether it was a `/sync` request. */
  readonly isSync: boolean;
  /** True for 5xx and for requests without a response. Any other response shows that the homeserver works. */
  readonly failed: boolean;
}

/** Admits the requests to the homeserver, and records their outcomes. */
export interface RequestGate {
  /** Resolves when the request may be sent. Rejects immediately with `HOMESERVER_UNAVAILABLE` while the homeserver is down. */
  enter(request: AdmissionRequest): Promise<void>;
  /** Records the outcome of a request that was sent. */
  record(outcome: RequestOutcome): void;
  /** Calls `listener` once, when the homeserver goes down. Returns a function that removes the listener. */
  onceDown(listener: () => void): () => void;
}

/** The state of the homeserver, as far as a client needs it. */
export interface ClientGate extends RequestGate {
  /** Resolves when the homeserver is up; to true if the call had to wait. Waiting clients are let through gradually. */
  waitUntilUp(signal: AbortSignal): Promise<boolean>;
  /** Resolves after `delayMs` milliseconds, or earlier if the homeserver goes down. */
  delayUntilDown(delayMs: number, signal: AbortSignal): Promise<void>;
}

/** A gate that admits every request immediately. */
export const openGate: RequestGate = { enter: async () => {}, record: () => {}, onceDown: () => () => {} };
