import type { Credentials } from '../core/credentials.js';

export interface EnsureUserRequest {
  /** User id with a valid localpart. */
  readonly userId: string;
  /** If present, set for new and existing users. */
  readonly displayName?: string | undefined;
  /** Whether a new user is a homeserver admin; not changed for existing users. */
  readonly admin?: boolean | undefined;
  readonly signal?: AbortSignal | undefined;
}

export interface EnsuredUser {
  /** Whether this call made the account. */
  readonly created: boolean;
  /**
   * The password that is valid after this call, if the provisioner knows one. The manager passes it to `openSession`
   * and uses it for user-interactive authentication. It is not stored.
   */
  readonly password?: string;
}

export interface OpenSessionRequest {
  readonly userId: string;
  /** The device to log in on; undefined lets the homeserver choose a new one. */
  readonly deviceId?: string | undefined;
  /** Display name of a new device; undefined leaves the choice to the provisioner. */
  readonly deviceName?: string | undefined;
  /** The result of `ensureUser`, if it was called immediately before. */
  readonly user?: EnsuredUser | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** The operations that a provisioner supports. */
export interface ProvisionerCapabilities {
  /**
   * Whether `openSession` works for an existing account at any time: on the device of an invalid token, and on a new
   * device after the keys of the old one were lost.
   */
  readonly renewsSessions: boolean;
  /** Whether `deactivateUser` works. For the application's information: the manager does not read it. */
  readonly deactivatesUsers: boolean;
}

/**
 * Makes accounts and sessions on a homeserver. The library contains `SynapseAdminProvisioner`. Implement this interface
 * for a server without Synapse's Admin API (with an application service, MAS, or the server's own API).
 * The manager makes one call at a time for each user. Reject with a `MatrixClientManagerError`.
 */
export interface Provisioner {
  readonly capabilities: ProvisionerCapabilities;
  /**
   * Makes the account if it does not exist. May replace the password of an existing account. Rejects with
   * `USER_DEACTIVATED` for a deactivated account.
   */
  ensureUser(request: EnsureUserRequest): Promise<EnsuredUser>;
  /** Logs the user in. The user's other sessions must stay valid. */
  openSession(request: OpenSessionRequest): Promise<Credentials>;
  /** Logs this session out and removes its device; resolves also if the session has already ended. */
  closeSession(credentials: Credentials, options?: { readonly signal?: AbortSignal }): Promise<void>;
  deactivateUser(userId: string, options?: { erase?: boolean; signal?: AbortSignal }): Promise<void>;
}
