import type { Decryption } from './decryption.js';
import type { ClientEvent, ClientEventType, Provenance } from './client-event.js';

/** How a request to the homeserver ended: well, or by which class of failure. */
export type RequestResult =
  | 'ok'
  | 'rate-limited'
  | 'transient'
  /** Not sent: the homeserver is known to be down. */
  | 'unavailable'
  | 'unauthorised'
  | 'aborted'
  | 'permanent';

/** What a sync was: the first one ever, the first one after a pause, or one of a live client. */
export type SyncKind = 'initial' | 'catch-up' | 'live';

export type CallbackOutcome = 'handled' | 'failed';

/** What becomes of a room key on a user's device. */
export type RoomKeyEvent =
  /** The device has begun a session of its own. */
  | 'made'
  /** Another device has sent it. */
  | 'received'
  /** Another device has told that it will not send it. */
  | 'withheld'
  /** It was stored in the user's key backup. */
  | 'backed-up'
  /** It was read from there. */
  | 'restored';

/** What came of looking for one key, without which an event cannot be read, in the user's key backup. */
export type KeyRequestResult = 'found' | 'missing' | 'failed';

/** Why keys could not be stored in a backup: it will be tried again, or the backup is no more. */
export type KeyBackupFailure = 'upload' | 'gone';

/** One request on its way. */
export interface RequestWatch {
  /** Its turn has come: time runs from here. */
  sent(): void;
  /** @param status - of the answer; undefined when there was none */
  ended(result: RequestResult, status?: number): void;
}

/** What one sync brought. */
export interface SyncSize {
  readonly rooms: number;
  readonly events: number;
}

/** Takes in what a sync brought. */
export type SyncWatch = (size: SyncSize, take: () => Promise<void>) => Promise<void>;

/**
 * What the parts of the library tell about their work, as it happens. It measures and passes on; it never throws, and
 * a part works the same without it. Ids are for who subscribes in the process; no metric and no trace shows them.
 */
export interface Telemetry {
  /** A request is going to be made. @param path - from the origin on */
  request(method: string, path: string): RequestWatch;
  /** A request is made once more, after a failure. */
  requestRepeated(method: string, path: string): void;
  /** A client has changed its state. @param resumed - whether it began where it had been */
  clientChanged(userId: string, from: string, to: string, resumed: boolean, errorCode?: string): void;
  clientStopped(userId: string, reason: string): void;
  /** A sync was answered after `durationMs`, the homeserver's waiting for news included. Returns how to take it in. */
  sync(
    userId: string,
    kind: SyncKind,
    durationMs: number,
  ): (size: SyncSize, take: () => Promise<void>) => Promise<void>;
  /** So many parts of an answer were left out, since they are not what the specification promises. */
  malformed(parts: number): void;
  /** An event is handed to the callbacks. */
  event(type: ClientEventType, provenance: Provenance): void;
  /** Runs one attempt of a callback. */
  callback(event: ClientEvent, attempt: number, run: () => void | Promise<void>): Promise<void>;
  /** An encrypted event was decrypted for the callbacks, or given up. */
  decryption(result: Decryption): void;
  /** A change of a device's keys was stored after `durationMs`, or could not be. */
  keyCommit(stored: boolean, durationMs: number): void;
  roomKeys(event: RoomKeyEvent, count: number): void;
  keyRequest(result: KeyRequestResult): void;
  /** So many keys more, or fewer, wait to be stored in a key backup. */
  keysToBackUp(change: number): void;
  keyBackupFailed(reason: KeyBackupFailure): void;
  deadLetter(): void;
  /** A gap was filled by `events` events after `durationMs`; `complete` says whether nothing is missing now. */
  gap(userId: string, roomId: string, events: number, complete: boolean, durationMs: number): void;
  /** Stores a position. */
  checkpoint(userId: string, store: () => Promise<void>): Promise<void>;
  /** Sends a message, the wait for its turn included. */
  send<T>(userId: string, roomId: string, send: () => Promise<T>): Promise<T>;
  provision<T extends { readonly created: boolean }>(provision: () => Promise<T>): Promise<T>;
  homeserver(state: 'up' | 'down'): void;
  /** Runs what goes on long after its caller has left, so that it is not traced as a part of the caller's work. */
  detached<T>(run: () => T): T;
}

const unwatched: RequestWatch = { sent() {}, ended() {} };

/** Measures nothing. */
export const noTelemetry: Telemetry = {
  request: () => unwatched,
  requestRepeated() {},
  clientChanged() {},
  clientStopped() {},
  sync: () => (_size, take) => take(),
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
