import type { Credentials } from '../core/credentials.js';

export interface EnsureUserRequest {
  /** Full user id; its username has been checked. */
  readonly userId: string;
  /** Set for new and existing users when given. */
  readonly displayName?: string | undefined;
  /** Whether a new user is a homeserver admin; existing users keep what they are. */
  readonly admin?: boolean | undefined;
  readonly signal?: AbortSignal | undefined;
}

export interface EnsuredUser {
  /** Whether this call made the account. */
  readonly created: boolean;
  /** A secret that `openSession` needs, where the homeserver works that way. It is dropped after the login. */
  readonly password?: string;
}

export interface OpenSessionRequest {
  readonly userId: string;
  /** The device to log in on; undefined lets the homeserver choose a new one. */
  readonly deviceId?: string | undefined;
  /** How to call a device that is new; undefined leaves that to the provisioner. */
  readonly deviceName?: string | undefined;
  /** What `ensureUser` answered, when it was called right before. */
  readonly user?: EnsuredUser | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** What a provisioner's homeserver can do. */
export interface ProvisionerCapabilities {
  /** Whether `openSession` can reopen a device of a user whose token died. */
  readonly renewsSessions: boolean;
  readonly deactivatesUsers: boolean;
}

/**
 * Makes accounts and sessions on a homeserver. `SynapseAdminProvisioner` is the one that ships; write this interface
 * for servers without Synapse's Admin API (an application service, MAS, another server's own API).
 * Calls for one user are serialised by the manager. Rejections should be `MatrixClientManagerError`s.
 */
export interface Provisioner {
  readonly capabilities: ProvisionerCapabilities;
  /** Makes the account if it does not exist. A deactivated one rejects with `USER_DEACTIVATED`. */
  ensureUser(request: EnsureUserRequest): Promise<EnsuredUser>;
  /** Logs the user in; no other session of theirs may end by it. */
  openSession(request: OpenSessionRequest): Promise<Credentials>;
  /** Logs that one session out, with its device; resolves also when it is out already. */
  closeSession(credentials: Credentials, options?: { readonly signal?: AbortSignal }): Promise<void>;
  deactivateUser(userId: string, options?: { erase?: boolean; signal?: AbortSignal }): Promise<void>;
}
