import type { Diagnostics } from '../../core/diagnostics.js';
import { isObject } from '../../core/raw-event.js';
import { withheldReasons } from '../../core/withheld-keys.js';
import type { KeysWithheld, WithheldReason } from '../../core/withheld-keys.js';
import type { WithheldDevices } from '../../encryption/withheld-devices.js';
import type { DeviceName, KeyShare, ToldDevice } from '../../encryption/withheld-record.js';
import { deviceEntries } from './key-claims.js';
import type { ByDevice } from './key-claims.js';
import type { CryptoBackend, ToDeviceRequest } from './crypto-backend.js';
import { withDevice } from './wasm-device.js';

/** Returns what tells whether the user's client knows a device. True if that cannot be found out. */
export function deviceCheck(crypto: Pick<CryptoBackend, 'olmMachine'>): (device: DeviceName) => Promise<boolean> {
  return (name) => withDevice(crypto, name, (device) => device !== undefined).catch(() => true);
}

export interface KeySharingOptions {
  readonly userId: string;
  readonly devices: WithheldDevices;
  readonly diagnostics: Diagnostics;
  /** Called once for each room, device and reason. */
  readonly onWithheld: (withheld: KeysWithheld) => void;
}

interface Message extends DeviceName {
  readonly content: unknown;
}

/**
 * Watches with which devices room keys are shared. The crypto library returns the messages that it sends to devices: one
 * with the key, or `m.room_key.withheld` with the reason. This is the one place that sees all of them, under every trust
 * policy, also those of messages that the application sends with the SDK.
 */
export function watchKeySharing({ olmMachine }: Pick<CryptoBackend, 'olmMachine'>, options: KeySharingOptions): void {
  const { userId, devices, diagnostics, onWithheld } = options;
  const shareKey = olmMachine.shareRoomKey.bind(olmMachine);
  olmMachine.shareRoomKey = async (room, users, settings) => {
    const roomId = room.toString();
    const hasWithheld = await devices.hasAny(roomId);
    const members = hasWithheld ? new Set(users.map((user) => user.toString())) : undefined; // the call frees them
    const requests = await shareKey(room, users, settings);
    if (hasWithheld || requests.some(isWithheld)) {
      const share = { ...readShare(requests), members };
      await devices.note(roomId, share, ({ counts, count, devices: named }) => {
        for (const [reason, number] of counts) diagnostics.publish('keysWithheld', { reason, count: number });
        if (count > 0) onWithheld({ userId, roomId, devices: named, count });
      });
    }
    return requests;
  };
}

function isWithheld({ event_type: type }: ToDeviceRequest): boolean {
  return type === 'm.room_key.withheld';
}

function readShare(requests: readonly ToDeviceRequest[]): Pick<KeyShare, 'told' | 'given'> {
  const told: ToldDevice[] = [];
  const given: Message[] = [];
  for (const request of requests) {
    if (!isWithheld(request)) given.push(...messagesOf(request));
    else for (const message of messagesOf(request)) told.push(toldDevice(message));
  }
  return { told, given };
}

/** The crypto library uses no other code for a session; one that a later version adds is reported as `m.unavailable`. */
function toldDevice({ userId, deviceId, content }: Message): ToldDevice {
  const { code, session_id: sessionId } = isObject(content) ? content : {};
  return {
    userId,
    deviceId,
    reason: withheldReasons.includes(code as WithheldReason) ? (code as WithheldReason) : 'm.unavailable',
    sessionId: typeof sessionId === 'string' ? sessionId : undefined,
  };
}

function messagesOf({ body }: ToDeviceRequest): Message[] {
  const { messages } = JSON.parse(body) as { readonly messages: ByDevice };
  return deviceEntries(messages).map(([userId, deviceId, content]) => ({ userId, deviceId, content }));
}
