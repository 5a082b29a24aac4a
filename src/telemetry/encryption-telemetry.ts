import type { Attributes, Meter } from '@opentelemetry/api';
import type { Decryption } from '../core/decryption.js';
import type { KeyBackupFailure, KeyRequestResult, RoomKeyEvent } from '../core/telemetry.js';
import { instruments } from './instruments.js';
import { counterSeries, eachName, fromNames } from './series.js';
import type { Count } from './series.js';
import type { TelemetryStats } from './telemetry-stats.js';

/** Result of decrypting an event. */
type DecryptionResult = keyof TelemetryStats['decryptions'];
const decryptionResults: readonly DecryptionResult[] = [
  'decrypted',
  'missing-key',
  'before-device',
  'withheld',
  'not-joined',
  'untrusted-sender',
  'unreadable',
];
const roomKeyEvents: readonly RoomKeyEvent[] = ['made', 'received', 'withheld', 'backed-up', 'restored'];
const keyRequestResults: readonly KeyRequestResult[] = ['found', 'missing', 'failed'];
const backupFailures: readonly KeyBackupFailure[] = ['upload', 'gone'];

type Counts<Name extends string> = Readonly<Record<Name, Count>>;

/** Counts decryptions, commits of the crypto store, room keys, key requests and failed key backups. */
export class EncryptionTelemetry {
  /** Number of room keys of all devices that are not in a key backup yet. */
  keysToBackUp = 0;
  readonly #decryptions: Counts<DecryptionResult>;
  readonly #commits: Counts<'stored' | 'failed'>;
  readonly #commitTime: Count;
  readonly #roomKeys: Counts<RoomKeyEvent>;
  readonly #keyRequests: Counts<KeyRequestResult>;
  readonly #backupFailures: Counts<KeyBackupFailure>;

  constructor(meter: Meter, common: Attributes) {
    this.#decryptions = eachName(decryptionResults, counterSeries(meter, instruments.decryptions, common));
    this.#commits = eachName(['stored', 'failed'], counterSeries(meter, instruments.keyCommits, common));
    this.#commitTime = counterSeries(meter, instruments.keyCommitTime, common).at();
    this.#roomKeys = eachName(roomKeyEvents, counterSeries(meter, instruments.roomKeys, common));
    this.#keyRequests = eachName(keyRequestResults, counterSeries(meter, instruments.keyRequests, common));
    this.#backupFailures = eachName(backupFailures, counterSeries(meter, instruments.keyBackupFailures, common));
  }

  decryption(result: Decryption): void {
    this.#decryptions[result.state === 'failed' ? result.reason : 'decrypted'].add();
  }

  keyCommit(stored: boolean, durationMs: number): void {
    this.#commits[stored ? 'stored' : 'failed'].add();
    if (durationMs > 0) this.#commitTime.add(durationMs / 1_000);
  }

  roomKeys(event: RoomKeyEvent, count: number): void {
    this.#roomKeys[event].add(count);
  }

  keyRequest(result: KeyRequestResult): void {
    this.#keyRequests[result].add();
  }

  keyBackupFailed(reason: KeyBackupFailure): void {
    this.#backupFailures[reason].add();
  }

  get stats(): Pick<TelemetryStats, 'decryptions' | 'keyCommits' | 'roomKeys' | 'keyRequests' | 'keyBackup'> {
    return {
      decryptions: valuesOf(this.#decryptions),
      keyCommits: valuesOf(this.#commits),
      roomKeys: valuesOf(this.#roomKeys),
      keyRequests: valuesOf(this.#keyRequests),
      keyBackup: { waiting: this.keysToBackUp, failures: valuesOf(this.#backupFailures) },
    };
  }
}

function valuesOf<Name extends string>(counts: Counts<Name>): Record<Name, number> {
  return fromNames(Object.keys(counts) as Name[], (name) => counts[name].value);
}
