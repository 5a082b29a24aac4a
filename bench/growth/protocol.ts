/** Where the room is, and who listens. */
export interface Connection {
  readonly homeserverUrl: string;
  readonly listener: { readonly userId: string; readonly accessToken: string; readonly deviceId: string };
  readonly roomId: string;
}

export interface Work extends Connection {
  /** Who does the work: the library, or matrix-js-sdk as it is. */
  readonly by: 'ours' | 'bare';
  readonly events: number;
  /** How many events share a line of the table. */
  readonly block: number;
}

/** What the measured process tells its parent. */
export type Told =
  /** It has had everything; the next `more` events are wanted. */
  | { readonly more: number }
  | {
      readonly done: {
        /** Microseconds of CPU per event, block by block. */
        readonly cpuPerEvent: readonly number[];
        /** Bytes in use after a garbage collection, above what was in use before the first event. */
        readonly heap: number;
      };
    };
