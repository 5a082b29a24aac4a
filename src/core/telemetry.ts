import type { Decryption } from './decryption.js';
import type { ClientEvent, ClientEventType, Provenance } from './client-event.js';

/** The result of a request to the homeserver: `ok`, or the class of its failure. */
export type RequestResult =
  | 'ok'
  | 'rate-limited'
  | 'transient'
  /** Not sent, because the homeserver is known to be down. */
  | 'unavailable'
  | 'unauthorised'
  | 'aborted'
  | 'permanent';

/** The kind of a sync: the user's first one ever, the first one after a pause, or one of a live client. */
export type SyncKind = 'initial' | 'catch-up' | 'live';

export type CallbackOutcome = 'handled' | 'failed';

/** An event in the life of a room key on a user's device. */
export type RoomKeyEvent =
  /** The device has created an outbound session. */
  | 'made'
  /** Another device has sent the key. */
  | 'received'
  /** Another device has reported that it will not send the key. */
  | 'withheld'
  /** The key was stored in the user's key backup. */
  | 'backed-up'
  /** The key was read from the user's key backup. */
  | 'restored';

/** The result of requesting one missing room key from the user's key backup. */
export type KeyRequestResult = 'found' | 'missing' | 'failed';

/** Why keys could not be stored in a backup: the upload failed and is retried, or the backup no longer exists. */
export type KeyBackupFailure = 'upload' | 'gone';

/** Observes one request. */
export interface RequestWatch {
  /** The request was admitted and is sent. Its duration is measured from here. */
  sent(): void;
  /** @param status - HTTP status, or undefined without a response */
  ended(result: RequestResult, status?: number): void;
}

/** The size of one sync response. */
export interface SyncSize {
  readonly rooms: number;
  readonly events: number;
}

/** Runs and measures the processing of one sync response. */
export type SyncWatch = (size: SyncSize, handle: () => Promise<void>) => Promise<void>;

/**
 * Receives measurements from all parts of the library. Its methods never throw, and the library works the same without
 * it. User ids and room ids reach only subscribers inside the process: metrics and traces never contain them.
 */
export interface Telemetry {
  /** A request is about to be made. @param path - without the origin */
  request(method: string, path: string): RequestWatch;
  /** A request is repeated after a failure. */
  requestRepeated(method: string, path: string): void;
  /** A client has changed its state. @param resumed - whether the client started from a stored position */
  clientChanged(userId: string, from: string, to: string, resumed: boolean, errorCode?: string): void;
  clientStopped(userId: string, reason: string): void;
  /**
   * A sync response arrived after `durationMs`, which includes the time that the homeserver waited for new events. Returns
   * a function that runs and measures the processing of the response.
   */
  sync(
    userId: string,
    kind: SyncKind,
    durationMs: number,
  ): (size: SyncSize, handle: () => Promise<void>) => Promise<void>;
  /** Parts of a response were skipped because they violate the specification. */
  malformed(parts: number): void;
  /** An event is passed to the callbacks. */
  event(type: ClientEventType, provenance: Provenance): void;
  /** Runs one attempt of a callback. */
  callback(event: ClientEvent, attempt: number, run: () => void | Promise<void>): Promise<void>;
  /** Decrypting an event for the callbacks has succeeded or finally failed. */
  decryption(result: Decryption): void;
  /** Storing a change of a device's keys has succeeded or failed after `durationMs`. */
  keyCommit(stored: boolean, durationMs: number): void;
  roomKeys(event: RoomKeyEvent, count: number): void;
  keyRequest(result: KeyRequestResult): void;
  /** The number of keys that wait to be stored in a key backup has changed by `change`. */
  keysToBackUp(change: number): void;
  keyBackupFailed(reason: KeyBackupFailure): void;
  deadLetter(): void;
  /** A gap was filled with `events` events in `durationMs`. `complete` is false if events are still missing. */
  gap(userId: string, roomId: string, events: number, complete: boolean, durationMs: number): void;
  /** Runs and measures the storing of a position. */
  checkpoint(userId: string, store: () => Promise<void>): Promise<void>;
  /** Runs and measures the sending of a message, including the wait in its room's queue. */
  send<T>(userId: string, roomId: string, send: () => Promise<T>): Promise<T>;
  provision<T extends { readonly created: boolean }>(provision: () => Promise<T>): Promise<T>;
  homeserver(state: 'up' | 'down'): void;
  /** Runs work that outlives its caller outside the caller's trace. */
  detached<T>(run: () => T): T;
}

const unwatched: RequestWatch = { sent() {}, ended() {} };

/** A telemetry that measures nothing. */
export const noTelemetry: Telemetry = {
  request: () => unwatched,
  requestRepeated() {},
  clientChanged() {},
  clientStopped() {},
  sync: () => (_size, handle) => handle(),
  malformed() {},
  event() {},
  callback: async (_event, _attempt, run) => run(),
  decryption() {},
  keyCommit() {},
  roomKeys() {},
  keyRequest() {},
  keysToBackUp() {},
  keyBackupFailed() {},
  deadLetter() {},
  gap() {},
  checkpoint: (_userId, store) => store(),
  send: (_userId, _roomId, send) => send(),
  provision: (provision) => provision(),
  homeserver() {},
  detached: (run) => run(),
};
