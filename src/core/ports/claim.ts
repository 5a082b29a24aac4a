import { MatrixClientManagerError } from '../errors.js';

/**
 * The right to act as the owner of one user. It is taken when the user's checkpoint is loaded, and belongs to the session
 * that was started from that checkpoint, not to the user: a later session has a claim of its own.
 */
export interface Claim {
  readonly userId: string;
  /** Increases with each claim of the user. */
  readonly epoch: number;
  /** Fires when the claim is lost. Its reason is the error of {@link assertHeld}. */
  readonly signal: AbortSignal;
  /** Throws `OWNED_ELSEWHERE` if the claim is lost. A lost claim is never held again. */
  assertHeld(): void;
}

/** Takes a claim of a user. Rejects with `OWNED_ELSEWHERE` if the user belongs to another process. */
export type TakeClaim = (userId: string) => Promise<Claim>;

export function ownedElsewhere(userId: string): MatrixClientManagerError {
  return new MatrixClientManagerError('OWNED_ELSEWHERE', `${userId} belongs to another process`, { userId });
}

/** The claims of a process that shares its users with no other one. They are never lost. */
export function singleProcessClaims(): TakeClaim {
  let epoch = 0;
  return async (userId) => ({ userId, epoch: ++epoch, signal: new AbortController().signal, assertHeld: () => {} });
}
