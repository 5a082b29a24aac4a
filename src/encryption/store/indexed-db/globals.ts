import { MatrixClientManagerError } from '../../../core/errors.js';

/** The global names under which the SDK's WebAssembly looks for IndexedDB, with their values. */
export type IndexedDbGlobals = Readonly<Record<string, unknown>> & { readonly indexedDB: object };

/** Globals that are installed until `remove()`. */
export interface InstalledGlobals {
  /** Whether all of them are still in place. */
  intact(): boolean;
  /** Restores the earlier values, except for globals that were replaced meanwhile. */
  remove(): void;
}

/**
 * The application's own IndexedDB, if it has one. It can stay if it comes from the same copy of fake-indexeddb. Throws
 * `UNSUPPORTED` for another implementation, because both need the same global names.
 */
export function indexedDbOfApplication(globals: IndexedDbGlobals): object | undefined {
  const scope = globalThis as Record<string, unknown>;
  const defined = Object.keys(globals).filter((name) => name in scope && scope[name] !== undefined);
  const conflicting = defined.find((name) => name !== 'indexedDB' && scope[name] !== globals[name]);
  if (conflicting === undefined) return scope['indexedDB'] as object | undefined;
  throw new MatrixClientManagerError(
    'UNSUPPORTED',
    `encryption needs globalThis.${conflicting}, but this process has another implementation of it: ` +
      'leave IndexedDB to this library, or use the same version of fake-indexeddb',
  );
}

export function installGlobals(globals: IndexedDbGlobals): InstalledGlobals {
  const earlierDescriptors = new Map<string, PropertyDescriptor | undefined>();
  for (const [name, value] of Object.entries(globals)) {
    earlierDescriptors.set(name, Object.getOwnPropertyDescriptor(globalThis, name));
    // Not enumerable and writable, as in a browser. intact() detects a replacement.
    Object.defineProperty(globalThis, name, { value, enumerable: false, configurable: true, writable: true });
  }
  const isOurs = (name: string): boolean => (globalThis as Record<string, unknown>)[name] === globals[name];
  return {
    intact: () => Object.keys(globals).every((name) => isOurs(name)),
    remove: () => {
      for (const [name, descriptor] of earlierDescriptors) {
        if (!isOurs(name)) continue;
        if (descriptor) Object.defineProperty(globalThis, name, descriptor);
        else Reflect.deleteProperty(globalThis, name);
      }
    },
  };
}
