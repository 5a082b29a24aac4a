import type { JsonObject } from '../json.js';
import { stringsOf } from '../json.js';
import { notFound } from '../matrix-error.js';
import type { Endpoint, EndpointRequest, Reply } from '../server/endpoint.js';
import { noteKeysChanged } from '../world/keys-changed.js';
import { closeDevice } from '../world/log-in-out.js';
import type { Device, User } from '../world/user.js';
import { passwordStage } from './password-stage.js';

/** `/whoami` and the devices of a user. */
export const deviceEndpoints: readonly Endpoint[] = [
  { method: 'GET', path: '/account/whoami', auth: 'user', handle: whoami },
  { method: 'GET', path: '/devices', auth: 'user', handle: listDevices },
  { method: 'GET', path: '/devices/{deviceId}', auth: 'user', handle: getDevice },
  { method: 'PUT', path: '/devices/{deviceId}', auth: 'user', handle: putDevice },
  { method: 'DELETE', path: '/devices/{deviceId}', auth: 'user', handle: deleteDevices },
  { method: 'POST', path: '/delete_devices', auth: 'user', handle: deleteDevices },
];

function whoami({ session }: EndpointRequest): JsonObject {
  const { userId, deviceId } = session;
  return { user_id: userId, is_guest: false, ...(deviceId !== undefined && { device_id: deviceId }) };
}

function listDevices({ user }: EndpointRequest): JsonObject {
  return { devices: [...user.devices.values()].map((device) => deviceBody(user, device)) };
}

function getDevice(request: EndpointRequest): JsonObject {
  return deviceBody(request.user, ownDevice(request));
}

function putDevice(request: EndpointRequest): JsonObject {
  const { display_name: displayName } = request.json();
  const device = ownDevice(request);
  if (typeof displayName === 'string') {
    device.displayName = displayName;
    noteKeysChanged(request.world, request.user.userId);
  }
  return {};
}

/** Deletes the device in the path, or the devices in the body. */
function deleteDevices(request: EndpointRequest): JsonObject | Reply {
  const { world, user, params } = request;
  const body = request.json({ allowEmpty: true });
  const asked = passwordStage(user, body);
  if (asked) return asked;
  const deviceIds = params['deviceId'] === undefined ? stringsOf(body['devices']) : [params['deviceId']];
  for (const deviceId of deviceIds ?? []) closeDevice(world, user.userId, deviceId);
  return {};
}

function ownDevice(request: EndpointRequest): Device {
  const device = request.user.devices.get(request.param('deviceId'));
  if (!device) throw notFound('Not found');
  return device;
}

/** A device as in responses to its user. */
export function deviceBody(user: User, { deviceId, displayName, lastSeenAt }: Device): JsonObject {
  return {
    user_id: user.userId,
    device_id: deviceId,
    display_name: displayName,
    last_seen_ts: lastSeenAt,
    last_seen_ip: lastSeenAt === null ? null : '127.0.0.1',
  };
}
