import { ownedElsewhere } from '../core/ports/claim.js';
import type { Claim } from '../core/ports/claim.js';

/** Claims of users in memory, for tests of several owners. A new claim of a user takes the user from the last one. */
export class MemoryClaims {
  #epoch = 0;
  readonly #holders = new Map<string, AbortController>();

  async take(userId: string): Promise<Claim> {
    this.#holders.get(userId)?.abort(ownedElsewhere(userId));
    const holder = new AbortController();
    this.#holders.set(userId, holder);
    const { signal } = holder;
    return { userId, epoch: ++this.#epoch, signal, assertHeld: () => signal.throwIfAborted() };
  }
}
