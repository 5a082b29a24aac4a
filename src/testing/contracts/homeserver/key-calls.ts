import { generateKeyPairSync, sign } from 'node:crypto';
import { signedPart } from '../../canonical-json.js';
import type { SyncResponse } from './responses.js';
import type { JsonResponse, Json } from './raw-http.js';
import type { TestUser } from './test-user.js';

export const CURVE = 'signed_curve25519';
export const CLIENT = '/_matrix/client/v3';

/** The parts of a sync response that concern encryption. */
export interface EncryptedSync extends SyncResponse {
  readonly to_device?: { readonly events: readonly Json[] };
  readonly device_lists?: { readonly changed?: readonly string[]; readonly left?: readonly string[] };
  readonly device_one_time_keys_count?: Json;
  readonly device_unused_fallback_key_types?: readonly string[];
}

export function uploadKeys(user: TestUser, body: Json): Promise<JsonResponse<Json>> {
  return user.http.post(`${CLIENT}/keys/upload`, body);
}

export function queryKeys(user: TestUser, deviceIds: Readonly<Record<string, string[]>>): Promise<JsonResponse<Json>> {
  return user.http.post(`${CLIENT}/keys/query`, { device_keys: deviceIds });
}

export function uploadCrossSigning(user: TestUser, body: Json): Promise<JsonResponse<Json>> {
  return user.http.post(`${CLIENT}/keys/device_signing/upload`, body);
}

/** A signing key of a user or a device. */
export class SigningKey {
  readonly publicKey: string;
  readonly #pair = generateKeyPairSync('ed25519');

  constructor() {
    const der = this.#pair.publicKey.export({ format: 'der', type: 'spki' });
    this.publicKey = unpadded(der.subarray(-32));
  }

  /** Returns `object` with the user's signature by this key, under the key name `name`. */
  sign(userId: string, object: Json, name = this.publicKey): Json {
    const signature = unpadded(sign(null, Buffer.from(signedPart(object)), this.#pair.privateKey));
    return { ...object, signatures: { [userId]: { [`ed25519:${name}`]: signature } } };
  }
}

/** Keys of a user's device, with a signature that homeservers do not check. */
export function deviceKeys({ userId, deviceId }: TestUser, ed25519 = 'e'): Json {
  return {
    user_id: userId,
    device_id: deviceId,
    algorithms: ['m.olm.v1.curve25519-aes-sha2', 'm.megolm.v1.aes-sha2'],
    keys: { [`curve25519:${deviceId}`]: 'c', [`ed25519:${deviceId}`]: ed25519 },
    signatures: { [userId]: { [`ed25519:${deviceId}`]: 's' } },
  };
}

/** One-time keys, with signatures that homeservers do not check. */
export function signedKeys({ userId, deviceId }: TestUser, ...ids: string[]): Json {
  const signatures = { [userId]: { [`ed25519:${deviceId}`]: 's' } };
  return Object.fromEntries(ids.map((id) => [`${CURVE}:${id}`, { key: id, signatures }]));
}

interface CrossSigning {
  readonly master: SigningKey;
  readonly selfSigning: SigningKey;
  readonly userSigning: SigningKey;
  readonly body: { readonly master_key: Json; readonly self_signing_key: Json; readonly user_signing_key: Json };
}

/** New cross-signing keys. The master key has signed the others, which homeservers check. */
export function crossSigning({ userId }: TestUser, master = new SigningKey()): CrossSigning {
  const [selfSigning, userSigning] = [new SigningKey(), new SigningKey()];
  const described = (usage: string, { publicKey }: SigningKey): Json => {
    return { user_id: userId, usage: [usage], keys: { [`ed25519:${publicKey}`]: publicKey } };
  };
  return {
    master,
    selfSigning,
    userSigning,
    body: {
      master_key: described('master', master),
      self_signing_key: master.sign(userId, described('self_signing', selfSigning)),
      user_signing_key: master.sign(userId, described('user_signing', userSigning)),
    },
  };
}

/** The `auth` of the password stage for a 401 response. */
export function passwordStage(user: TestUser, asked: JsonResponse<Json>, password = user.password): Json {
  const identifier = { type: 'm.id.user', user: user.userId };
  return { type: 'm.login.password', identifier, password, session: asked.body['session'] };
}

function unpadded(bytes: Buffer): string {
  return bytes.toString('base64').replace(/=+$/, '');
}
