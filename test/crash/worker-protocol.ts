/** Where a worker kills itself: at the `count`-th time that it comes by. */
export interface KillPoint {
  readonly point: Point;
  readonly count: number;
}

export const points = [
  'begin',
  'middle',
  'end',
  'onceBegin',
  'onceEnd',
  'onceStored',
  'commit',
  'committed',
  'login',
  'sync',
  'synced',
  'messages',
  'messagesRead',
  'ready',
] as const;
/**
 * `begin`, `middle` and `end`: before, inside and after a callback; `commit` and `committed`: around a write of the
 * storage; `login`, `sync`, `messages`: before such a request; `synced`, `messagesRead`: after its answer.
 */
export type Point = (typeof points)[number];

/** What a worker is to do; given as JSON in its first argument. */
export interface WorkerSpec {
  readonly homeserverUrl: string;
  readonly admin: { readonly userId: string; readonly accessToken: string };
  readonly path: string;
  readonly users: readonly WorkerUser[];
  /** The room whose callbacks are slow. */
  readonly slowRoom: string;
  readonly timelineLimit: number;
  readonly gapFillLimit: number;
  readonly idleTimeoutMs: number;
  readonly slidingSync: boolean;
  readonly kill?: KillPoint;
  /** Whether to tell of every answer of the homeserver. */
  readonly verbose: boolean;
  /** Stops the client whose `/messages` request is the nth one, in the middle of its gap-fill, and starts it again. */
  readonly stopAtMessages?: number;
}

export interface WorkerUser {
  readonly username: string;
  readonly userId: string;
  /** One list of options per callback. */
  readonly callbacks: readonly { readonly rooms?: readonly string[]; readonly backlog?: boolean }[];
}

/**
 * What a worker writes to its standard output, a line each, at once and in order: what was written has reached the
 * parent even if the worker is killed next. Times are milliseconds of the worker's monotonic clock.
 */
export type WorkerLine =
  | { readonly kind: 'ready' | 'stopped'; readonly userId: string; readonly reason?: string }
  | {
      readonly kind: 'begin';
      readonly at: number;
      readonly userId: string;
      readonly callback: number;
      readonly roomId: string;
      readonly eventId: string;
      readonly n: number;
      readonly provenance: string;
    }
  | ({ readonly kind: 'end' } & Outcome)
  | ({ readonly kind: 'fail' } & Outcome)
  | {
      /** The callback with `once` is called. */
      readonly kind: 'onceBegin';
      readonly userId: string;
      readonly roomId: string;
      readonly eventId: string;
    }
  | { readonly kind: 'onceEnd' | 'onceFail'; readonly eventId: string }
  | { readonly kind: 'dead'; readonly at: number; readonly userId: string; readonly eventId: string }
  | {
      readonly kind: 'gap';
      readonly userId: string;
      readonly roomId: string;
      readonly from: string | undefined;
      readonly to: string | undefined;
      readonly reason: string;
      readonly error: string | undefined;
    }
  | {
      /** The storage has acknowledged a commit. */
      readonly kind: 'stored';
      readonly at: number;
      readonly userId: string;
      /** The new position of each room that has one. */
      readonly positions: readonly string[];
      readonly journal: readonly string[];
    }
  | { readonly kind: 'problem'; readonly message: string }
  /** An answer of `/sync` or `/messages`, for who looks for a mistake. */
  | { readonly kind: 'http'; readonly userId: string; readonly query: string; readonly answer: unknown }
  | { readonly kind: 'finished'; readonly deadLetters: Readonly<Record<string, readonly string[]>> };

interface Outcome {
  readonly at: number;
  readonly userId: string;
  readonly callback: number;
  readonly eventId: string;
}

/** The text of message `n` of a room. A callback that gets a poisoned one always fails, of a flaky one the first time. */
export function bodyOf(n: number): string {
  const mark = n % 97 === 13 ? 'poison' : n % 41 === 7 ? 'flaky' : 'plain';
  return `${n} ${mark}`;
}
