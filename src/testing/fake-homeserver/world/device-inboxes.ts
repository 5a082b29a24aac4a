import type { JsonObject } from '../json.js';
import { firstAfter } from './stream.js';

interface ToDeviceMessage {
  readonly stream: number;
  readonly event: JsonObject;
}

interface InboxPortion {
  readonly events: JsonObject[];
  /** The last one's position, where more are waiting. */
  readonly upTo?: number;
}

/** How many messages Synapse gives at once. */
const MOST = 100;

/** Messages from device to device, kept until a sync shows that they have arrived. */
export class DeviceInboxes {
  readonly #byDevice = new Map<string, ToDeviceMessage[]>();

  add(userId: string, deviceId: string, stream: number, event: JsonObject): void {
    const key = `${userId}\n${deviceId}`;
    this.#byDevice.set(key, [...(this.#byDevice.get(key) ?? []), { stream, event }]);
  }

  /** The first that came after `since`; what came before has arrived and goes. */
  after(userId: string, deviceId: string, since: number): InboxPortion {
    const key = `${userId}\n${deviceId}`;
    const waiting = this.#byDevice.get(key);
    if (!waiting) return { events: [] };
    const left = waiting.slice(firstAfter(waiting, since));
    if (left.length > 0) this.#byDevice.set(key, left);
    else this.#byDevice.delete(key);
    const portion = left.slice(0, MOST);
    const upTo = left.length > MOST ? portion.at(-1)?.stream : undefined;
    return { events: portion.map(({ event }) => event), ...(upTo !== undefined && { upTo }) };
  }

  forgetDevice(userId: string, deviceId: string): void {
    this.#byDevice.delete(`${userId}\n${deviceId}`);
  }
}
