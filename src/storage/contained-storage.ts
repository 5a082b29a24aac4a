import { types } from 'node:util';
import { callContained } from '../core/contain.js';
import type { Containment } from '../core/contain.js';
import { MatrixClientManagerError } from '../core/errors.js';
import { isObject } from '../core/raw-event.js';
import type { Storage } from './storage.js';

type Method = Exclude<keyof Storage, typeof Symbol.asyncDispose | 'close'>;

const isBoolean = (value: unknown): boolean => typeof value === 'boolean';
const anyResult = (): boolean => true; // for methods without a result
const isList = (value: unknown): boolean => Array.isArray(value) && value.every((item) => isObject(item));

/** Checks of the results of the methods, as far as the library relies on their types. */
const resultChecks: Readonly<Record<Method, (result: unknown) => boolean>> = {
  getCredentials: (result) => result === undefined || result === null || isObject(result),
  setCredentials: anyResult,
  deleteCredentials: anyResult,
  loadCheckpoint: (result) =>
    isObject(result) &&
    types.isMap(result.rooms) && // also accepts Maps of another realm, which structuredClone() returns under Jest
    types.isMap(result.lastDelivered) &&
    isList(result.journal),
  commit: anyResult,
  addDeadLetter: anyResult,
  listDeadLetters: isList,
  deleteDeadLetter: isBoolean,
  enqueueSend: (result) => isObject(result) && isObject(result.send),
  listSends: isList,
  completeSend: isBoolean,
  failSend: isBoolean,
  deleteSend: isBoolean,
  getEncryptedRooms: (result) => types.isMap(result),
  setEncryptedRooms: anyResult,
  addOnceEvents: anyResult,
  findOnceEvents: (result) => Array.isArray(result) && result.every((key) => typeof key === 'string'),
  deleteUser: anyResult,
};

/** Methods that a storage may lack. */
const optional: ReadonlySet<string> = new Set<Method>([
  'getEncryptedRooms',
  'setEncryptedRooms',
  'addOnceEvents',
  'findOnceEvents',
]);

function hasMethod(storage: Storage, name: string): boolean {
  try {
    return typeof Reflect.get(storage, name) === 'function';
  } catch {
    return false;
  }
}

/** Wraps a storage: each method returns a result of the right type, or rejects with an error code, within `timeoutMs`. */
export function containedStorage(storage: Storage, bounds: Pick<Containment, 'clock' | 'timeoutMs'>): Storage {
  const supported = Object.entries(resultChecks).filter(([name]) => !optional.has(name) || hasMethod(storage, name));
  const methods = supported.map(([name, isValid]) => {
    const callee = `storage.${name}()`;
    const call = async (...args: unknown[]): Promise<unknown> => {
      const result = await callContained({ ...bounds, callee, code: 'STORAGE' }, () => {
        const method: unknown = Reflect.get(storage, name);
        if (typeof method !== 'function') throw new TypeError('the storage has no such method');
        return Reflect.apply(method, storage, args) as unknown;
      });
      if (isValid(result)) return result ?? undefined;
      throw new MatrixClientManagerError('STORAGE', `${callee} returned a value of a wrong type`);
    };
    return [name, call] as const;
  });
  const close = async (): Promise<void> => storage.close(); // the shutdown has its own timeout
  return { ...(Object.fromEntries(methods) as unknown as Pick<Storage, Method>), close, [Symbol.asyncDispose]: close };
}
