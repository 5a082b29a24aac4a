import type { JsonObject } from '../json.js';
import { firstAfter } from './stream.js';

interface ToDeviceMessage {
  readonly stream: number;
  readonly event: JsonObject;
}

interface InboxPortion {
  readonly events: JsonObject[];
  /** The position of the last returned message, if more are waiting. */
  readonly upTo?: number;
}

/** Synapse's maximum of messages in one sync. */
const MOST = 100;

/** To-device messages, kept until a later `since` confirms that they have arrived. */
export class DeviceInboxes {
  readonly #byDevice = new Map<string, ToDeviceMessage[]>();

  add(userId: string, deviceId: string, stream: number, event: JsonObject): void {
    const key = `${userId}\n${deviceId}`;
    this.#byDevice.set(key, [...(this.#byDevice.get(key) ?? []), { stream, event }]);
  }

  /** The first messages after `since`. Earlier ones have arrived and are deleted. */
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
