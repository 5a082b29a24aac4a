import { types } from 'node:util';
import { callContained } from '../core/contain.js';
import type { Containment } from '../core/contain.js';
import { MatrixClientManagerError } from '../core/errors.js';
import { isObject } from '../core/raw-event.js';
import type { Storage } from './storage.js';

type Method = Exclude<keyof Storage, typeof Symbol.asyncDispose | 'close'>;

const isBoolean = (value: unknown): boolean => typeof value === 'boolean';
const anyResult = (): boolean => true; // what a method without an answer answers is not looked at
const isList = (value: unknown): boolean => Array.isArray(value) && value.every((one) => isObject(one));

/** Whether an answer is what the method's type says, as far as the library would fail on another. */
const resultChecks: Readonly<Record<Method, (answer: unknown) => boolean>> = {
  getCredentials: (answer) => answer === undefined || answer === null || isObject(answer),
  setCredentials: anyResult,
  deleteCredentials: anyResult,
  loadCheckpoint: (answer) =>
    isObject(answer) &&
    types.isMap(answer.rooms) && // also of another realm: structuredClone() is from outside of Jest's sandbox
    types.isMap(answer.lastDelivered) &&
    isList(answer.journal),
  commit: anyResult,
  addDeadLetter: anyResult,
  listDeadLetters: isList,
  deleteDeadLetter: isBoolean,
  enqueueSend: (answer) => isObject(answer) && isObject(answer.send),
  listSends: isList,
  completeSend: isBoolean,
  failSend: isBoolean,
  deleteSend: isBoolean,
  deleteUser: anyResult,
};

/** A storage whose methods resolve with what they should, or reject with a coded error, in bounded time. */
export function containedStorage(storage: Storage, bounds: Pick<Containment, 'clock' | 'timeoutMs'>): Storage {
  const methods = Object.entries(resultChecks).map(([name, isRight]) => {
    const what = `storage.${name}()`;
    const call = async (...args: unknown[]): Promise<unknown> => {
      const answer = await callContained({ ...bounds, callee: what, code: 'STORAGE' }, () => {
        const method: unknown = Reflect.get(storage, name);
        if (typeof method !== 'function') throw new TypeError('there is no such method');
        return Reflect.apply(method, storage, args) as unknown;
      });
      if (isRight(answer)) return answer ?? undefined;
      throw new MatrixClientManagerError('STORAGE', `${what} answered something of a wrong type`);
    };
    return [name, call] as const;
  });
  const close = async (): Promise<void> => storage.close(); // the shutdown bounds it
  return { ...(Object.fromEntries(methods) as unknown as Pick<Storage, Method>), close, [Symbol.asyncDispose]: close };
}
