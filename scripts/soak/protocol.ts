/** Something that goes wrong at the homeserver for a while; `probability` is that of each request to be hit. */
export type Fault =
  | { readonly kind: 'latency' | 'rateLimit'; readonly probability: number; readonly ms: number }
  | { readonly kind: 'status'; readonly probability: number; readonly status: number }
  | { readonly kind: 'drop' | 'dropAfter' | 'truncated' | 'hang' | 'sameNextBatch'; readonly probability: number }
  | { readonly kind: 'limited'; readonly probability: 1; readonly limit: number; readonly omitLimited: boolean }
  | { readonly kind: 'restart'; readonly probability: 1 }
  | { readonly kind: 'deadToken'; readonly probability: 1; readonly userId: string };

/** What the homeserver's process is asked for. */
export type SoakAsk =
  | { readonly do: 'rooms'; readonly members: readonly (readonly string[])[] }
  | { readonly do: 'fill'; readonly messagesPerRoom: number; readonly text: string }
  | { readonly do: 'fault'; readonly fault: Fault; readonly forMs: number }
  | { readonly do: 'calm' | 'count' }
  | { readonly do: 'history'; readonly file: string };

export interface SoakRequest {
  readonly id: number;
  readonly ask: SoakAsk;
}

export interface SoakReply {
  readonly id: number;
  readonly answer: unknown;
}
