import { canonicalJson } from '../../canonical-json.js';
import type { JsonObject } from '../json.js';
import { isJsonObject, objectOrEmpty, stringsOf } from '../json.js';
import { MatrixError, invalidParam } from '../matrix-error.js';
import type { Endpoint, EndpointRequest, Reply } from '../server/endpoint.js';
import { deviceListChanges } from '../sync/device-list-changes.js';
import type { CrossSigningPurpose } from '../world/device-keys.js';
import { noteKeysChanged } from '../world/keys-changed.js';
import { signKey } from '../world/sign-keys.js';
import { isSignedBy, publicKeyOf } from '../world/signatures.js';
import { passwordStage } from './password-stage.js';

/** The public keys of devices and users. @see https://spec.matrix.org/v1.16/client-server-api/#end-to-end-encryption */
export const keyEndpoints: readonly Endpoint[] = [
  { method: 'POST', path: '/keys/upload', auth: 'user', handle: upload },
  { method: 'POST', path: '/keys/query', auth: 'user', handle: query },
  { method: 'GET', path: '/keys/changes', auth: 'user', handle: changes },
  { method: 'POST', path: '/keys/claim', auth: 'user', handle: claim },
  { method: 'POST', path: '/keys/device_signing/upload', auth: 'user', handle: uploadCrossSigning },
  { method: 'POST', path: '/keys/signatures/upload', auth: 'user', handle: uploadSignatures },
  { method: 'PUT', path: '/sendToDevice/{eventType}/{txnId}', auth: 'user', handle: sendToDevice },
];

/** Maximum size of a to-device message in bytes, from the limit of transactions between servers. */
const MAX_TO_DEVICE_BYTES = 65_536;
/** The failure for users of other homeservers, which do not exist here. */
const unreachable = { status: 503, message: 'Not ready for retry' };

const purposes: readonly CrossSigningPurpose[] = ['master', 'self_signing', 'user_signing'];

function upload(request: EndpointRequest): JsonObject {
  const { world, session } = request;
  const { userId, deviceId } = session;
  if (deviceId === undefined) throw invalidParam('To upload keys, you must pass device_id when authenticating');
  const body = request.json();
  const { device_keys: identity, one_time_keys: oneTime, fallback_keys: fallback } = body;
  if (isJsonObject(identity)) {
    if (identity['user_id'] !== userId || identity['device_id'] !== deviceId) {
      throw new MatrixError(400, 'M_BAD_JSON', 'Provided `user_id` or `device_id` in `device_keys` does not match');
    }
    if (world.deviceKeys.setIdentity(userId, deviceId, identity)) noteKeysChanged(world, userId);
  }
  for (const key of Object.values({ ...objectOrEmpty(oneTime), ...objectOrEmpty(fallback) })) {
    if (isJsonObject(key) && isJsonObject(key['signatures'])) continue;
    throw new MatrixError(400, 'M_BAD_JSON', 'validation errors for KeyUploadRequestBody: signatures');
  }
  world.deviceKeys.addOneTimeKeys(userId, deviceId, objectOrEmpty(oneTime));
  world.deviceKeys.setFallbackKeys(userId, deviceId, objectOrEmpty(fallback));
  return { one_time_key_counts: world.deviceKeys.oneTimeKeyCounts(userId, deviceId) };
}

function query(request: EndpointRequest): JsonObject {
  const { world, session } = request;
  const { deviceKeys } = world;
  request.integer('timeout', 10_000);
  const asked = request.json()['device_keys'];
  if (!isJsonObject(asked) || !Object.values(asked).every(isListOfStrings)) {
    throw new MatrixError(400, 'M_BAD_JSON', "'device_keys' values must be a list of strings");
  }
  const found: JsonObject = {};
  const failures: JsonObject = {};
  const crossSigning: Record<CrossSigningPurpose, JsonObject> = { master: {}, self_signing: {}, user_signing: {} };
  for (const [userId, deviceIds] of Object.entries(asked)) {
    const server = serverOf(userId);
    if (server !== world.serverName) {
      if (server !== undefined) failures[server] = unreachable;
      continue;
    }
    const wanted = stringsOf(deviceIds) ?? [];
    const devices: JsonObject = {};
    for (const { deviceId, displayName } of world.users.get(userId)?.devices.values() ?? []) {
      const identity = deviceKeys.identity(userId, deviceId);
      if (!identity || (wanted.length > 0 && !wanted.includes(deviceId))) continue;
      devices[deviceId] = { ...identity, unsigned: displayName === null ? {} : { device_display_name: displayName } };
    }
    found[userId] = devices;
    for (const purpose of purposes) {
      if (purpose === 'user_signing' && userId !== session.userId) continue;
      const key = deviceKeys.crossSigningKey(userId, purpose, session.userId);
      if (key) crossSigning[purpose][userId] = key;
    }
  }
  return {
    device_keys: found,
    failures,
    master_keys: crossSigning.master,
    self_signing_keys: crossSigning.self_signing,
    user_signing_keys: crossSigning.user_signing,
  };
}

function claim(request: EndpointRequest): JsonObject {
  const { world } = request;
  const claimed: JsonObject = {};
  const failures: JsonObject = {};
  for (const [userId, devices] of Object.entries(objectOrEmpty(request.json()['one_time_keys']))) {
    const server = serverOf(userId);
    if (server !== undefined && server !== world.serverName) failures[server] = unreachable;
    for (const [deviceId, algorithm] of Object.entries(objectOrEmpty(devices))) {
      const key = world.deviceKeys.claim(userId, deviceId, String(algorithm));
      if (!key) continue;
      claimed[userId] = { ...objectOrEmpty(claimed[userId]), [deviceId]: key };
      world.waiters.wake(userId); // its next sync has the new count of one-time keys
    }
  }
  return { one_time_keys: claimed, failures };
}

function uploadCrossSigning(request: EndpointRequest): JsonObject | Reply {
  const { world, user } = request;
  const { userId } = user;
  const body = request.json();
  const given = purposes.flatMap((purpose) => {
    const key = body[`${purpose}_key`];
    return isJsonObject(key) ? [{ purpose, key }] : [];
  });
  const current = (purpose: CrossSigningPurpose): JsonObject | undefined =>
    world.deviceKeys.crossSigningKey(userId, purpose, userId);
  const isNew = ({ purpose, key }: { purpose: CrossSigningPurpose; key: JsonObject }): boolean =>
    canonicalJson(current(purpose)?.['keys']) !== canonicalJson(key['keys']);
  if (!given.some(isNew)) return {};
  const asked = current('master') && passwordStage(user, body);
  if (asked) return asked;
  const master = objectOrEmpty(body['master_key'] ?? current('master'));
  for (const { purpose, key } of given) {
    if (key['user_id'] !== userId) throw invalidParam(`Invalid ${purpose} key`);
    if (purpose === 'master' || isSignedBy(key, userId, publicKeyOf(master))) continue;
    throw new MatrixError(400, 'M_INVALID_SIGNATURE', `Invalid signature on ${purpose} key`);
  }
  for (const { purpose, key } of given) world.deviceKeys.setCrossSigningKey(userId, purpose, key);
  noteKeysChanged(world, userId);
  return {};
}

function uploadSignatures(request: EndpointRequest): JsonObject {
  const { world, session } = request;
  const signerId = session.userId;
  const failures: Record<string, JsonObject> = {};
  for (const [userId, keys] of Object.entries(request.json())) {
    const signed = Object.entries(objectOrEmpty(keys)).filter(([keyId, key]) => {
      try {
        signKey(world.deviceKeys, signerId, userId, keyId, objectOrEmpty(key));
        return true;
      } catch (error) {
        if (!(error instanceof MatrixError)) throw error;
        const failure = { status: error.status, errcode: error.errcode, message: error.message };
        failures[userId] = { ...failures[userId], [keyId]: failure };
        return false;
      }
    });
    if (signed.length === 0) continue;
    if (userId === signerId) {
      noteKeysChanged(world, userId);
    } else {
      world.deviceKeys.noteSignature(signerId, userId, world.stream.next());
      world.waiters.wake(signerId);
    }
  }
  return { failures };
}

function changes(request: EndpointRequest): JsonObject {
  const { world, user } = request;
  const { position } = world.positions.readSync(request.required('from'));
  return { ...deviceListChanges(world, user, position) };
}

function sendToDevice(request: EndpointRequest): JsonObject {
  const { world, session } = request;
  const { transactions } = world;
  const key = `${request.device}\n${request.path}`;
  if (transactions.has(key)) return {};
  const { messages } = request.json();
  if (!isJsonObject(messages)) throw new MatrixError(400, 'M_MISSING_PARAM', "Missing params: ['messages']");
  const contents = Object.values(messages).flatMap((byDevice) => Object.values(objectOrEmpty(byDevice)));
  if (contents.some((content) => Buffer.byteLength(canonicalJson(content)) > MAX_TO_DEVICE_BYTES)) {
    throw new MatrixError(413, 'M_TOO_LARGE', 'To-device message is too large to send');
  }
  transactions.set(key, '');
  for (const [userId, byDevice] of Object.entries(messages)) {
    const devices = world.users.get(userId)?.devices ?? new Map<string, unknown>();
    for (const [deviceId, content] of Object.entries(objectOrEmpty(byDevice))) {
      for (const target of deviceId === '*' ? devices.keys() : [deviceId].filter((id) => devices.has(id))) {
        const event = { type: request.param('eventType'), sender: session.userId, content };
        world.inboxes.add(userId, target, world.stream.next(), event);
      }
    }
    world.waiters.wake(userId);
  }
  return {};
}

/** The server name of a user id; undefined for an invalid id. */
function serverOf(userId: string): string | undefined {
  return /^@[^:]*:(.+)$/.exec(userId)?.[1];
}

function isListOfStrings(value: unknown): boolean {
  return Array.isArray(value) && value.every((item) => typeof item === 'string');
}
