import type { CryptoBackend, WasmUserId } from './crypto-backend.js';
import { userIdClass } from './wasm-classes.js';

/**
 * The id as an object of the crypto library, which the caller has to free; undefined if the
 * library does not accept it. Homeservers and other users choose ids, and the library's constructor throws on a bad one.
 */
export function wasmUserId({ olmMachine }: Pick<CryptoBackend, 'olmMachine'>, id: string): WasmUserId | undefined {
  return newUserId(userIdClass(olmMachine), id);
}

/** Returns what tells whether the crypto library accepts an id. */
export function userIdCheck({ olmMachine }: Pick<CryptoBackend, 'olmMachine'>): (id: string) => boolean {
  const UserId = userIdClass(olmMachine);
  return (id) => {
    const userId = newUserId(UserId, id);
    userId?.free();
    return userId !== undefined;
  };
}

function newUserId(UserId: new (id: string) => WasmUserId, id: string): WasmUserId | undefined {
  try {
    return new UserId(id);
  } catch {
    return undefined;
  }
}
