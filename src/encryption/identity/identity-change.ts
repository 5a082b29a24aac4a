/** A user's cross-signing keys were replaced. */
export interface IdentityChange {
  /** The user whose client has noticed it. */
  readonly userId: string;
  /** The user whose keys were replaced; `userId` itself if another client of the user has done it. */
  readonly changedUserId: string;
  /** Whether `userId` had verified the earlier keys. */
  readonly wasVerified: boolean;
}
