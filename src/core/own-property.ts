import { isObject } from './raw-event.js';

/** A property of an object from the network, which may be of any type and have any keys. */
export function ownProperty(object: unknown, key: string): unknown {
  return isObject(object) && Object.hasOwn(object, key) ? (object as Record<string, unknown>)[key] : undefined;
}
