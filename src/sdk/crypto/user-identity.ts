import { hasIdentityChanged } from './crypto-backend.js';
import type { CryptoBackend } from './crypto-backend.js';
import { masterKeyOf } from './published-keys.js';
import { wasmUserId } from './wasm-user-id.js';

/** The cross-signing identity of a user, as the crypto library has stored it. */
export interface UserIdentity {
  /** The public master key. */
  readonly masterKey: string;
  readonly hasChanged: boolean;
  /**
   * Whether these are not the keys that were seen first, and not verified. Unlike {@link hasChanged}, false of a user whose
   * keys stayed, and who was verified by earlier keys of the client's user. False of the user's own identity.
   */
  readonly differsFromFirst: boolean;
  /** Whether the client's user had verified it, or an earlier one. */
  readonly wasVerified: boolean;
}

/** Undefined if the crypto library knows no identity of the user. Makes no request. */
export async function userIdentity(
  { olmMachine }: Pick<CryptoBackend, 'olmMachine'>,
  userId: string,
): Promise<UserIdentity | undefined> {
  const id = wasmUserId({ olmMachine }, userId);
  let identity: Awaited<ReturnType<typeof olmMachine.getIdentity>>;
  try {
    identity = id && (await olmMachine.getIdentity(id));
    if (!identity) return undefined;
    const masterKey = masterKeyOf(JSON.parse(identity.masterKey) as { keys: unknown });
    return {
      masterKey,
      hasChanged: hasIdentityChanged(identity),
      differsFromFirst: identity.identityNeedsUserApproval?.() ?? false,
      wasVerified: identity.wasPreviouslyVerified(),
    };
  } finally {
    for (const object of [identity, id]) object?.free(); // the identity would keep the client in memory
  }
}
