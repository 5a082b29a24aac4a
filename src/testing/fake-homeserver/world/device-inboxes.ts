import type { JsonObject } from '../json.js';
import { firstAfter } from './stream.js';

interface ToDeviceMessage {
  readonly stream: number;
  readonly event: JsonObject;
}

/** Messages from device to device, kept until a sync shows that they have arrived. */
export class DeviceInboxes {
  readonly #byDevice = new Map<string, ToDeviceMessage[]>();

  add(userId: string, deviceId: string, stream: number, event: JsonObject): void {
    const key = `${userId}\n${deviceId}`;
    this.#byDevice.set(key, [...(this.#byDevice.get(key) ?? []), { stream, event }]);
  }

  /** What came after `since`; what came before has arrived and goes. */
  after(userId: string, deviceId: string, since: number): JsonObject[] {
    const key = `${userId}\n${deviceId}`;
    const waiting = this.#byDevice.get(key);
    if (!waiting) return [];
    const left = waiting.slice(firstAfter(waiting, since));
    if (left.length > 0) this.#byDevice.set(key, left);
    else this.#byDevice.delete(key);
    return left.map(({ event }) => event);
  }

  forgetDevice(userId: string, deviceId: string): void {
    this.#byDevice.delete(`${userId}\n${deviceId}`);
  }
}
