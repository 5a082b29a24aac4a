import type { ClientEventType, Provenance } from '../core/client-event.js';
import type { DecryptionFailureReason } from '../core/decryption.js';
import type {
  KeyBackupFailure,
  KeyRequestResult,
  RequestResult,
  RoomKeyEvent,
  SyncKind,
} from '../core/diagnostic-messages.js';
import type { WithheldReason } from '../core/withheld-keys.js';
import type { DurationStats } from './series.js';

/** Requests to one endpoint with the same method, status class and result. */
export interface RequestStats {
  readonly method: string;
  /** Path with names in place of its ids, such as `/_matrix/client/v3/rooms/{roomId}/messages`; `other` for an unknown path. */
  readonly endpoint: string;
  /** Status class, such as `2xx`; `none` without a response. */
  readonly status: string;
  readonly result: RequestResult;
  readonly count: number;
}

/** Counts and durations since the manager was made: the same numbers that OpenTelemetry exports. */
export interface TelemetryStats {
  /** Starts of clients that became live, from a stored position (`resumed`) or without one (`fresh`); and failed starts. */
  readonly starts: { readonly resumed: DurationStats; readonly fresh: DurationStats; readonly failed: number };
  /** Stops of clients that were live, by reason. */
  readonly stops: Readonly<Record<string, number>>;
  /** Time until sync responses, including the homeserver's wait for new events. */
  readonly syncs: Readonly<Record<SyncKind, DurationStats>>;
  /** Time from a sync response until its events were handed to the callbacks. */
  readonly syncProcessing: Readonly<Record<SyncKind, DurationStats>>;
  /** Parts of responses that violate the specification and were left out, such as events without a sender. */
  readonly malformedParts: number;
  /** Events handed to the callbacks, by type and provenance. */
  readonly events: Readonly<Record<ClientEventType, Readonly<Record<Provenance, number>>>>;
  /** Calls of callbacks, and events that became dead letters. */
  readonly callbacks: {
    readonly handled: DurationStats;
    readonly failed: DurationStats;
    readonly deadLetters: number;
  };
  /** Encrypted events that were decrypted for callbacks, and failed decryptions by reason. */
  readonly decryptions: Readonly<Record<'decrypted' | DecryptionFailureReason, number>>;
  /** Changes of encryption keys that were stored, and that failed to be stored. */
  readonly keyCommits: { readonly stored: number; readonly failed: number };
  /** Room keys that the users' devices have made, received, backed up or restored, and keys that others withheld from them. */
  readonly roomKeys: Readonly<Record<RoomKeyEvent, number>>;
  /**
   * Devices that did not get a room key of a user, by reason. A device counts once for each session, with `m.no_olm`
   * once for each room.
   */
  readonly keysWithheld: Readonly<Record<WithheldReason, number>>;
  /** Missing room keys that were requested from the user's key backup. No keys are requested from other devices. */
  readonly keyRequests: Readonly<Record<KeyRequestResult, number>>;
  /** The key backups of running devices. */
  readonly keyBackup: {
    /** Room keys of running devices that are not in the key backup yet. */
    readonly waiting: number;
    /** Failed attempts to store keys: `upload` is retried; with `gone` the backup no longer exists. */
    readonly failures: Readonly<Record<KeyBackupFailure, number>>;
  };
  /** Gaps that were filled, gaps that were not filled completely (`open`), and the events fetched for both. */
  readonly gaps: { readonly filled: number; readonly open: number; readonly events: number };
  /** Stored positions, and failed attempts to store one. */
  readonly checkpoints: { readonly stored: DurationStats; readonly failed: DurationStats };
  /** Messages that were sent and that failed: time from the call until the homeserver's response. */
  readonly sends: { readonly sent: DurationStats; readonly failed: DurationStats };
  /** Provisioned users with a new account (`created`) or an `existing` one; and failures. */
  readonly provisions: {
    readonly created: DurationStats;
    readonly existing: DurationStats;
    readonly failed: DurationStats;
  };
  /** Requests to the homeserver. */
  readonly requests: {
    readonly count: number;
    /** Requests repeated after a failure. */
    readonly retries: number;
    /** One entry for each combination that has occurred. */
    readonly byEndpoint: readonly RequestStats[];
  };
  /** How often the homeserver went down. */
  readonly outages: number;
}
