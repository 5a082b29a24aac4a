import { randomDeviceId } from '../random-ids.js';
import { forgetDeviceKeys, noteKeysChanged } from './keys-changed.js';
import type { Session } from './sessions.js';
import type { User } from './user.js';
import type { World } from './world.js';

/** The lifetime of an access token that has a refresh token, as in Synapse. */
const REFRESHABLE_LIFETIME_MS = 300_000;

interface DeviceRequest {
  readonly deviceId: string | undefined;
  readonly displayName?: unknown;
  readonly refreshable?: boolean;
}

interface OpenedDevice {
  readonly session: Session;
  readonly refreshToken?: string;
}

/** Logs a user in on a new or existing device. Other sessions of the device stay. */
export function openDevice(world: World, user: User, request: DeviceRequest): OpenedDevice {
  const deviceId = request.deviceId ?? randomDeviceId();
  const { displayName, refreshable } = request;
  if (!user.devices.has(deviceId)) {
    user.devices.set(deviceId, {
      deviceId,
      displayName: typeof displayName === 'string' ? displayName : null,
      lastSeenAt: null,
    });
    noteKeysChanged(world, user.userId);
  }
  if (!refreshable) return { session: world.sessions.open(user.userId, { deviceId }) };
  const expiresAt = world.clock.now() + REFRESHABLE_LIFETIME_MS;
  const session = world.sessions.open(user.userId, { deviceId, expiresAt });
  return { session, refreshToken: world.refreshTokens.issue(user.userId, deviceId, session).token };
}

/** Removes a device and ends every session on it. */
export function closeDevice(world: World, userId: string, deviceId: string): void {
  if (world.users.get(userId)?.devices.delete(deviceId)) forgetDeviceKeys(world, userId, deviceId);
  world.refreshTokens.forgetDevice(userId, deviceId);
  for (const session of world.sessions.ofUser(userId)) {
    if (session.deviceId === deviceId) world.sessions.close(session);
  }
}

/** Removes the user's devices and sessions, except sessions that an admin has opened for the user. */
export function closeUserSessions(world: World, userId: string): void {
  for (const deviceId of world.users.get(userId)?.devices.keys() ?? []) forgetDeviceKeys(world, userId, deviceId);
  world.users.get(userId)?.devices.clear();
  world.refreshTokens.forgetDevice(userId);
  for (const session of world.sessions.ofUser(userId)) world.sessions.close(session);
}

/** Exchanges a refresh token. Until the new tokens are used, another exchange revokes them. */
export function refreshSession(world: World, token: string): Required<OpenedDevice> {
  const old = world.refreshTokens.use(token);
  old.undo?.();
  const { userId, deviceId } = old;
  const onFirstUse = (): void => {
    old.spent = true;
    world.sessions.close(old.session);
  };
  const expiresAt = world.clock.now() + REFRESHABLE_LIFETIME_MS;
  const session = world.sessions.open(userId, { deviceId, expiresAt, onFirstUse });
  const issued = world.refreshTokens.issue(userId, deviceId, session);
  issued.onFirstUse = onFirstUse;
  old.undo = () => {
    world.sessions.close(session);
    world.refreshTokens.forget(issued.token);
  };
  return { session, refreshToken: issued.token };
}
