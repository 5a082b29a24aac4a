import type { JsonObject } from '../json.js';
import { notFound } from '../matrix-error.js';
import type { Endpoint, EndpointRequest } from '../server/endpoint.js';
import type { Device, User } from '../world/user.js';

/** Who one is, and on which devices. */
export const deviceEndpoints: readonly Endpoint[] = [
  { method: 'GET', path: '/account/whoami', auth: 'user', handle: whoami },
  { method: 'GET', path: '/devices', auth: 'user', handle: listDevices },
  { method: 'GET', path: '/devices/{deviceId}', auth: 'user', handle: getDevice },
  { method: 'PUT', path: '/devices/{deviceId}', auth: 'user', handle: putDevice },
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
  if (typeof displayName === 'string') device.displayName = displayName;
  return {};
}

function ownDevice(request: EndpointRequest): Device {
  const device = request.user.devices.get(request.param('deviceId'));
  if (!device) throw notFound('Not found');
  return device;
}

/** A device as its user is shown it. */
export function deviceBody(user: User, { deviceId, displayName, lastSeenAt }: Device): JsonObject {
  return {
    user_id: user.userId,
    device_id: deviceId,
    display_name: displayName,
    last_seen_ts: lastSeenAt,
    last_seen_ip: lastSeenAt === null ? null : '127.0.0.1',
  };
}
