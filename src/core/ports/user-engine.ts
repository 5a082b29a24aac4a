import type { MemberProfile } from '../member-profile.js';
import type { EventContent } from '../raw-event.js';
import type { EventSource } from './event-source.js';
import type { KnownRoom } from './known-room.js';
import type { RoomUnread } from './room-unread.js';

/**
 * What receives the events of one user while the user's client is up. Currently this is a matrix-js-sdk client with a
 * sync of its own; with an application service there is neither, until the application asks for the SDK's client.
 */
export interface UserEngine<SdkClient = unknown> {
  /** When the homeserver last answered, in milliseconds since the Unix epoch. */
  readonly lastSyncAt: number | undefined;
  /** Whether rooms or missed events could not be fetched yet because requests to the homeserver fail. */
  readonly isIncomplete: boolean;
  /** Resolves when events arrive. Rejects soon after `signal` fires. After a rejection call {@link stop}. */
  start(signal: AbortSignal): Promise<void>;
  /** Resolves when nothing of the engine runs any more. A rejection is final: calling it again does not help. */
  stop(): Promise<void>;
  /** Asks for events only every `pollIntervalMs` from now on (never, if Infinity). The position is kept. */
  rest(pollIntervalMs: number): void;
  /** Ends {@link rest}: asks for the missed events at once, and for new ones continuously from then on. */
  wake(): void;
  /** The matrix-js-sdk client; made by the first call if the engine runs without one. */
  sdkClient(): Promise<SdkClient>;
  /**
   * The matrix-js-sdk client; undefined only while the engine runs without one. Call this only for the application: from
   * then on the client may need more memory and CPU.
   */
  sdkClientIfMade(): SdkClient | undefined;
}

/** An engine that a user's session runs on: what the session needs beyond the calls that it passes on. */
export interface SessionEngine<SdkClient = unknown> extends UserEngine<SdkClient>, EventSource {
  /**
   * The position from which the engine resumes; undefined: it begins without one. It is newer than the stored position
   * if the engine received events that no callback has got.
   */
  readonly resumesFrom: string | undefined;
  /** Whether rooms have been left out of the batches so far. They follow in batches of `late-rooms`. */
  readonly hasUnloadedRooms: boolean;
  /** Whether everything that the homeserver has sent so far was passed on, and the engine is connected. */
  readonly isCurrent: boolean;
  /** The user's joined rooms and invitations, as of the last batch. */
  rooms(): readonly KnownRoom[];
  /** The content of the user's account data of this type, as of the last batch; undefined if there is none. */
  accountData(type: string): EventContent | undefined;
  /** The unread counts of the user's rooms, as of the last batch. */
  readonly unread: RoomUnread;
  /** Opens the user's encryption, if they have one. Call it before {@link start}. After a rejection, call {@link stop}. */
  openEncryption(): Promise<void>;
  /** Whether the room's `m.room.encryption` event was received. */
  hasEncryptionEvent(roomId: string): boolean;
  /** The profile of a member of the room, if their member event was received. */
  memberOf(roomId: string, userId: string): MemberProfile | undefined;
  /** Asks for presence at once, if the engine does not do so yet; call it when a callback wants presence events. */
  askForPresence(): void;
  /** Looks for rooms that the user is no longer in; call it when the homeserver has refused a request for a room. */
  checkRooms(): void;
}
