import type { ClientEvent, ClientEventType, Provenance } from './client-event.js';
import type { Decryption } from './decryption.js';
import type { WithheldReason } from './withheld-keys.js';

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

/**
 * What the parts of the library publish, by name. User ids and room ids reach only subscribers inside the process:
 * metrics and traces never contain them. Durations are in milliseconds.
 */
export interface DiagnosticMessages {
  /** A request has ended. */
  readonly request: {
    readonly method: string;
    /** Without the origin. */
    readonly path: string;
    /** Template of the path, as passed by the application; undefined for the library's own requests. */
    readonly template?: string | undefined;
    readonly result: RequestResult;
    /** HTTP status; undefined without a response. */
    readonly status: number | undefined;
    /** Since the request was admitted and sent; undefined if it was not sent. */
    readonly durationMs: number | undefined;
  };
  /** A request is repeated after a failure. */
  readonly requestRepeated: {
    readonly method: string;
    readonly path: string;
    readonly template?: string | undefined;
  };
  readonly clientStopped: { readonly userId: string; readonly reason: string };
  /** A sync response arrived. The duration includes the time that the homeserver waited for new events. */
  readonly syncReceived: { readonly kind: SyncKind; readonly durationMs: number };
  /** Parts of a response were skipped because they violate the specification. */
  readonly malformed: { readonly parts: number };
  /** An event is passed to the callbacks. */
  readonly event: { readonly type: ClientEventType; readonly provenance: Provenance };
  /** Decrypting an event for the callbacks has succeeded or finally failed. */
  readonly decryption: Decryption;
  /** Storing a change of a device's keys has succeeded or failed. */
  readonly keyCommit: { readonly stored: boolean; readonly durationMs: number };
  readonly roomKeys: { readonly event: RoomKeyEvent; readonly count: number };
  /** Devices do not get a room key of a user's device. */
  readonly keysWithheld: { readonly reason: WithheldReason; readonly count: number };
  readonly keyRequest: { readonly result: KeyRequestResult };
  /** The number of keys that wait to be stored in a key backup has changed. */
  readonly keysToBackUp: { readonly change: number };
  readonly keyBackupFailed: { readonly reason: KeyBackupFailure };
  readonly deadLetter: { readonly userId: string };
  /** A gap was filled with `events` events. `complete` is false if events are still missing. */
  readonly gap: {
    readonly userId: string;
    readonly roomId: string;
    readonly events: number;
    readonly complete: boolean;
    readonly durationMs: number;
  };
  /** The homeserver went down, is still down after a probe, or is up again. */
  readonly homeserver: { readonly state: 'up' | 'down' };
}

/** Work that is traced: what is known when it starts (`message`), and what is known at its end (`result`). */
export interface TracedWork {
  /** From the call until the client is live or its start has failed. */
  readonly clientStart: {
    readonly message: { readonly userId: string };
    /** Whether the client started from a stored position. */
    readonly result: { readonly resumed: boolean };
  };
  /** The processing of one sync response, which arrived `waitMs` after the request. */
  readonly sync: {
    readonly message: {
      readonly userId: string;
      readonly kind: SyncKind;
      readonly waitMs: number;
      readonly rooms: number;
      readonly events: number;
    };
    readonly result: void;
  };
  /** One attempt of a callback. */
  readonly callback: {
    readonly message: { readonly event: ClientEvent; readonly attempt: number };
    readonly result: void;
  };
  /** The storing of a position. */
  readonly checkpoint: { readonly message: { readonly userId: string }; readonly result: void };
  /** The sending of a message, including the wait in its room's queue. */
  readonly send: {
    readonly message: { readonly userId: string; readonly roomId: string };
    readonly result: unknown;
  };
  readonly provision: { readonly message: object; readonly result: { readonly created: boolean } };
}

export type TraceName = keyof TracedWork;

/** How traced work has ended. */
export type TraceOutcome<Name extends TraceName> =
  | { readonly outcome: 'ok'; readonly result: TracedWork[Name]['result'] }
  | { readonly outcome: 'failed'; readonly error: unknown; readonly result?: TracedWork[Name]['result'] };
