/** What a worker is started with. */
export interface WorkerSpec {
  readonly homeserverUrl: string;
  readonly admin: { readonly userId: string; readonly accessToken: string };
  readonly folder: string;
  /** 32 bytes, in hexadecimal digits. */
  readonly secret: string;
  readonly username: string;
  readonly roomId: string;
  /** Who else is in the room. */
  readonly peerId: string;
  /** The file in which the application keeps the user's recovery keys; with it, the user gets an identity. */
  readonly vault?: string;
  /** Begins the texts that it sends. */
  readonly life: string;
}

/** What a worker may be doing when it is killed. `set-up` and `upload` are those of an identity and its key backup. */
export type Activity = 'provision' | 'start' | 'set-up' | 'restore' | 'upload' | 'send' | 'rotate' | 'receive';

/** What must not be found in a file, as text; keys in base64. */
export interface Secrets {
  readonly roomKeys: readonly string[];
  readonly crossSigningKeys: readonly string[];
  readonly backupKey: string | undefined;
}

interface Read {
  readonly eventId: string;
  readonly body: unknown;
  /** `decrypted`, or why not. */
  readonly decryption: string;
}

export type WorkerLine =
  | { readonly kind: 'begin' | 'end'; readonly activity: Activity }
  | {
      readonly kind: 'live';
      readonly userId: string;
      readonly deviceId: string;
      readonly accessToken: string;
      readonly ed25519: string;
      readonly curve25519: string;
    }
  /** The identity is made, or restored; without one, the client is live. */
  | { readonly kind: 'ready' }
  /** The peer's devices are all signed, as this one sees it. */
  | { readonly kind: 'met' }
  | ({ readonly kind: 'got' } & Read)
  | { readonly kind: 'sent'; readonly eventId: string; readonly body: string }
  | { readonly kind: 'quiet' }
  /** Every key is in the backup. */
  | { readonly kind: 'backed up' }
  | { readonly kind: 'secrets'; readonly secrets: Secrets }
  /** So many keys came out of the backup. */
  | { readonly kind: 'restored'; readonly keys: number }
  /** All that the room has, read anew. */
  | { readonly kind: 'history'; readonly messages: readonly Read[] }
  | { readonly kind: 'replaced'; readonly code: string }
  /** What the library logs. */
  | {
      readonly kind: 'log';
      readonly level: 'info' | 'warn' | 'error';
      readonly message: string;
      readonly error: string;
    };

export type WorkerCommand = 'meet' | 'send' | 'quiet' | 'back up' | 'secrets' | 'restore' | 'history' | 'finish';
