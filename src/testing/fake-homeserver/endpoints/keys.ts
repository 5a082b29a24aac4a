import type { JsonObject } from '../json.js';
import { isJsonObject, objectOrEmpty, stringsOf } from '../json.js';
import { MatrixError, invalidParam } from '../matrix-error.js';
import type { Endpoint, EndpointRequest } from '../server/endpoint.js';
import { Reply } from '../server/endpoint.js';
import type { CrossSigningPurpose } from '../world/device-keys.js';
import { noteKeysChanged } from '../world/keys-changed.js';

/** The public keys of devices and users. @see https://spec.matrix.org/v1.16/client-server-api/#end-to-end-encryption */
export const keyEndpoints: readonly Endpoint[] = [
  { method: 'POST', path: '/keys/upload', auth: 'user', handle: upload },
  { method: 'POST', path: '/keys/query', auth: 'user', handle: query },
  { method: 'POST', path: '/keys/claim', auth: 'user', handle: claim },
  { method: 'POST', path: '/keys/device_signing/upload', auth: 'user', handle: uploadCrossSigning },
  { method: 'POST', path: '/keys/signatures/upload', auth: 'user', handle: uploadSignatures },
  { method: 'PUT', path: '/sendToDevice/{eventType}/{txnId}', auth: 'user', handle: sendToDevice },
];

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
  const asked = objectOrEmpty(request.json()['device_keys']);
  const found: JsonObject = {};
  const crossSigning: Record<CrossSigningPurpose, JsonObject> = { master: {}, self_signing: {}, user_signing: {} };
  for (const [userId, deviceIds] of Object.entries(asked)) {
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
    failures: {},
    master_keys: crossSigning.master,
    self_signing_keys: crossSigning.self_signing,
    user_signing_keys: crossSigning.user_signing,
  };
}

function claim(request: EndpointRequest): JsonObject {
  const claimed: JsonObject = {};
  for (const [userId, devices] of Object.entries(objectOrEmpty(request.json()['one_time_keys']))) {
    for (const [deviceId, algorithm] of Object.entries(objectOrEmpty(devices))) {
      const key = request.world.deviceKeys.claim(userId, deviceId, String(algorithm));
      if (!key) continue;
      claimed[userId] = { ...objectOrEmpty(claimed[userId]), [deviceId]: key };
      request.world.waiters.wake(userId); // the device is told how many are left
    }
  }
  return { one_time_keys: claimed, failures: {} };
}

function uploadCrossSigning(request: EndpointRequest): JsonObject | Reply {
  const { world, user } = request;
  const { userId } = user;
  const body = request.json();
  const current = world.deviceKeys.crossSigningKey(userId, 'master', userId);
  const given = body['master_key'];
  const replaces =
    current !== undefined && JSON.stringify(current['keys']) !== JSON.stringify(objectOrEmpty(given)['keys']);
  if (replaces && !passed(objectOrEmpty(body['auth']), user.password)) {
    return new Reply(401, { session: 'fake-uia-session', flows: [{ stages: ['m.login.password'] }], params: {} });
  }
  const [masterId = ''] = Object.keys(objectOrEmpty(objectOrEmpty(given ?? current)['keys']));
  for (const purpose of ['self_signing', 'user_signing']) {
    const key = body[`${purpose}_key`];
    // Only whether there is a signature: to check it would take the specification's canonical JSON.
    if (!isJsonObject(key) || masterId in objectOrEmpty(objectOrEmpty(key['signatures'])[userId])) continue;
    throw new MatrixError(400, 'M_INVALID_SIGNATURE', `Invalid signature on ${purpose} key`);
  }
  for (const purpose of purposes) {
    const key = body[`${purpose}_key`];
    if (isJsonObject(key)) world.deviceKeys.setCrossSigningKey(userId, purpose, key);
  }
  noteKeysChanged(world, userId);
  return {};
}

function passed(auth: JsonObject, password: string | undefined): boolean {
  return auth['type'] === 'm.login.password' && password !== undefined && auth['password'] === password;
}

function uploadSignatures(request: EndpointRequest): JsonObject {
  const { world, session } = request;
  const failures: JsonObject = {};
  for (const [userId, keys] of Object.entries(request.json())) {
    for (const [keyId, signed] of Object.entries(objectOrEmpty(keys))) {
      if (world.deviceKeys.sign(session.userId, userId, keyId, objectOrEmpty(signed))) continue;
      const failure = { errcode: 'M_NOT_FOUND', error: 'No such key' };
      failures[userId] = { ...objectOrEmpty(failures[userId]), [keyId]: failure };
    }
    if (userId === session.userId) {
      noteKeysChanged(world, userId);
    } else {
      world.deviceKeys.noteSignature(session.userId, userId, world.stream.next());
      world.waiters.wake(session.userId);
    }
  }
  return { failures };
}

function sendToDevice(request: EndpointRequest): JsonObject {
  const { world, session } = request;
  const { transactions } = world;
  const key = `${request.device}\n${request.path}`;
  if (transactions.has(key)) return {};
  const messages = objectOrEmpty(request.json()['messages']);
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
