import { MemoryStore } from 'matrix-js-sdk';
import type { ISyncResponse } from 'matrix-js-sdk';
import type { ISavedSync } from 'matrix-js-sdk/lib/store/index.js';

/**
 * The SDK's memory store. It also gives the SDK the saved sync to resume from, and calls a function after the SDK has
 * processed a sync response; the SDK waits for that function before its next sync.
 */
export class SyncStore extends MemoryStore {
  #saved: ISavedSync | undefined;
  readonly #onProcessed: (data: ISyncResponse) => Promise<void>;

  /**
   * @param saved - the sync to resume from; undefined: starts with an initial sync
   * @param onProcessed - awaited before the next sync; it must not reject, or the SDK's loop ends
   */
  constructor(saved: ISavedSync | undefined, onProcessed: (data: ISyncResponse) => Promise<void>) {
    super();
    this.#saved = saved;
    this.#onProcessed = onProcessed;
  }

  override getSavedSync(): Promise<ISavedSync | null> {
    const saved = this.#saved ?? null;
    this.#saved = undefined; // the SDK reads it once, and it is large
    return Promise.resolve(saved);
  }

  override getSavedSyncToken(): Promise<string | null> {
    return Promise.resolve(this.#saved?.nextBatch ?? null);
  }

  override async setSyncData(data: ISyncResponse): Promise<void> {
    await this.#onProcessed(data);
  }
}
