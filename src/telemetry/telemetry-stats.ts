import type { ClientEventType, Provenance } from '../core/client-event.js';
import type { DecryptionFailureReason } from '../core/decryption.js';
import type { KeyBackupFailure, KeyRequestResult, RequestResult, RoomKeyEvent, SyncKind } from '../core/telemetry.js';
import type { DurationStats } from './series.js';

/** Requests to one endpoint that ended alike. */
export interface RequestStats {
  readonly method: string;
  /** The path with names for its ids, such as `/_matrix/client/v3/rooms/{roomId}/messages`; `other` for an unknown one. */
  readonly endpoint: string;
  /** `2xx` and so on; `none` without an answer. */
  readonly status: string;
  readonly result: RequestResult;
  readonly count: number;
}

/** What has happened since the manager was made: the numbers that OpenTelemetry gets. */
export interface TelemetryStats {
  /** Starts of clients that came to be live, resumed from a position or from nothing; and failed ones. */
  readonly starts: { readonly resumed: DurationStats; readonly fresh: DurationStats; readonly failed: number };
  /** Stops of clients that were live, by reason. */
  readonly stops: Readonly<Record<string, number>>;
  /** How long answers of syncs took, the homeserver's waiting for news included. */
  readonly syncs: Readonly<Record<SyncKind, DurationStats>>;
  /** How long it took to take them in. */
  readonly syncProcessing: Readonly<Record<SyncKind, DurationStats>>;
  /** Parts of answers, such as events without a sender, that are not what the specification promises: left out. */
  readonly malformedParts: number;
  /** Events handed to the callbacks. */
  readonly events: Readonly<Record<ClientEventType, Readonly<Record<Provenance, number>>>>;
  /** Calls of callbacks, and events that became dead letters. */
  readonly callbacks: {
    readonly handled: DurationStats;
    readonly failed: DurationStats;
    readonly deadLetters: number;
  };
  /** Encrypted events that were decrypted for callbacks, and those that could not be, by reason. */
  readonly decryptions: Readonly<Record<'decrypted' | DecryptionFailureReason, number>>;
  /** Changes of keys that were stored, and that could not be. */
  readonly keyCommits: { readonly stored: number; readonly failed: number };
  /** What has become of room keys on the users' devices. */
  readonly roomKeys: Readonly<Record<RoomKeyEvent, number>>;
  /** Keys that an event lacked and that were looked for in the user's key backup. Other devices are not asked. */
  readonly keyRequests: Readonly<Record<KeyRequestResult, number>>;
  /** The key backups of running devices. */
  readonly keyBackup: {
    /** Keys of running devices that wait to be stored. */
    readonly waiting: number;
    /** Attempts to store keys: those that will be repeated, and those whose backup is no more. */
    readonly failures: Readonly<Record<KeyBackupFailure, number>>;
  };
  /** Gaps that could be filled, and those that could not or not wholly; events fetched for them. */
  readonly gaps: { readonly filled: number; readonly open: number; readonly events: number };
  /** Positions that were stored, and that could not be. */
  readonly checkpoints: { readonly stored: DurationStats; readonly failed: DurationStats };
  /** Messages from the call until the homeserver had them, and those that failed. */
  readonly sends: { readonly sent: DurationStats; readonly failed: DurationStats };
  /** Users provisioned, by whether the account was made or existed; and failures. */
  readonly provisions: {
    readonly created: DurationStats;
    readonly existing: DurationStats;
    readonly failed: DurationStats;
  };
  /** Requests to the homeserver. */
  readonly requests: {
    readonly count: number;
    /** Requests made once more after a failure. */
    readonly retries: number;
    /** Each combination that there has been. */
    readonly byEndpoint: readonly RequestStats[];
  };
  /** How often the homeserver went down. */
  readonly outages: number;
}
