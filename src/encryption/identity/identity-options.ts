/**
 * Which devices of a room's members get its keys: all of them; those that their owner has cross-signed; or those of
 * users, and devices, that this user has verified. A device that gets no key cannot read what is sent.
 */
export type TrustPolicy = 'all' | 'cross-signed' | 'verified';

/**
 * Proves to the homeserver who replaces the user's cross-signing keys: `makeRequest(auth)`, as in matrix-js-sdk. Has 30
 * seconds before, between and after its requests.
 */
export type AuthUploadDeviceSigningKeys = (
  makeRequest: (authData: Record<string, unknown> | null) => Promise<void>,
) => Promise<void>;

/** What an application decides about its users' identities. */
export interface IdentitySettings {
  /** Whether to give the user cross-signing keys, and to sign their device with them. */
  readonly crossSigning: boolean;
  /** Whether to keep the keys of the user's messages at the homeserver, sealed, so that a new device can read them. */
  readonly keyBackup: boolean;
  readonly trust: TrustPolicy;
  /**
   * Takes the user's new recovery key into safe keeping: it opens everything of theirs. Called before anything relies
   * on it; while it rejects, or for longer than 30 seconds does not settle, nothing is set up. Called again where it
   * did, or the process was killed before anything relied on the key: keep the last.
   */
  readonly onRecoveryKey: (userId: string, recoveryKey: string) => void | Promise<void>;
  /**
   * The recovery key that was kept, undefined or null where there is none; asked on a new device, and where something
   * is to be added to what it opens. Has 30 seconds.
   */
  readonly recoveryKey: (userId: string) => string | undefined | null | Promise<string | undefined | null>;
}

/** How many of the keys in a backup have been read. */
export interface RestoreProgress {
  readonly imported: number;
  readonly total: number;
}
