import type { CryptoBackend, WasmUserId } from './crypto-backend.js';

/**
 * The id as an object of the crypto library, which the caller has to free; undefined if the
 * library does not accept it. Homeservers and other users choose ids, and the library's constructor throws on a bad one.
 */
export function wasmUserId({ olmMachine }: Pick<CryptoBackend, 'olmMachine'>, id: string): WasmUserId | undefined {
  return newUserId(userIdClass(olmMachine), id);
}

/** Returns what tells whether the crypto library accepts an id. For many ids: it reads the library's class once. */
export function userIdCheck({ olmMachine }: Pick<CryptoBackend, 'olmMachine'>): (id: string) => boolean {
  const UserId = userIdClass(olmMachine); // each access of `olmMachine.userId` allocates an object
  return (id) => {
    const userId = newUserId(UserId, id);
    userId?.free();
    return userId !== undefined;
  };
}

type UserIdClass = new (id: string) => WasmUserId;

/** Only the class of the SDK's own copy of the library is accepted. */
function userIdClass({ userId }: CryptoBackend['olmMachine']): UserIdClass {
  return userId.constructor as UserIdClass;
}

function newUserId(UserId: UserIdClass, id: string): WasmUserId | undefined {
  try {
    return new UserId(id);
  } catch {
    return undefined;
  }
}
