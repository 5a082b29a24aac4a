import { MatrixClientManagerError } from '../../../core/errors.js';

/** The global names under which the SDK's WebAssembly looks for IndexedDB, each with what it is to find. */
export type IndexedDbGlobals = Readonly<Record<string, unknown>> & { readonly indexedDB: object };

/** Globals that were put in place, until `remove()`. */
export interface InstalledGlobals {
  /** Whether all of them are still in place. */
  intact(): boolean;
  /** Puts back what was there before, except where somebody else has put something of theirs. */
  remove(): void;
}

/**
 * The application's own IndexedDB, if it has one. It may stay where its classes are ours, because it is the same
 * module; another make cannot share the names. Throws `UNSUPPORTED` there.
 */
export function indexedDbOfApplication(globals: IndexedDbGlobals): object | undefined {
  const scope = globalThis as Record<string, unknown>;
  const foreign = Object.keys(globals).filter((name) => name in scope && scope[name] !== undefined);
  const other = foreign.find((name) => name !== 'indexedDB' && scope[name] !== globals[name]);
  if (other === undefined) return scope['indexedDB'] as object | undefined;
  throw new MatrixClientManagerError(
    'UNSUPPORTED',
    `encryption needs globalThis.${other}, and this process has one of another make: ` +
      'leave IndexedDB to this library, or use the same version of fake-indexeddb',
  );
}

export function installGlobals(globals: IndexedDbGlobals): InstalledGlobals {
  const before = new Map<string, PropertyDescriptor | undefined>();
  for (const [name, value] of Object.entries(globals)) {
    before.set(name, Object.getOwnPropertyDescriptor(globalThis, name));
    // Not enumerable and easy to replace, as in a browser; who replaces them is found out by intact().
    Object.defineProperty(globalThis, name, { value, enumerable: false, configurable: true, writable: true });
  }
  const isOurs = (name: string): boolean => (globalThis as Record<string, unknown>)[name] === globals[name];
  return {
    intact: () => Object.keys(globals).every((name) => isOurs(name)),
    remove: () => {
      for (const [name, descriptor] of before) {
        if (!isOurs(name)) continue;
        if (descriptor) Object.defineProperty(globalThis, name, descriptor);
        else Reflect.deleteProperty(globalThis, name);
      }
    },
  };
}
