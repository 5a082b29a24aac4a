import { MemoryStore } from 'matrix-js-sdk';
import type { ISyncResponse } from 'matrix-js-sdk';
import type { ISavedSync } from 'matrix-js-sdk/lib/store/index.js';

/**
 * The SDK's memory store, which also hands it the sync to resume from, tells when it has finished with a sync
 * response, and makes it wait there.
 */
export class SyncStore extends MemoryStore {
  #saved: ISavedSync | undefined;
  readonly #onProcessed: (data: ISyncResponse) => Promise<void>;

  /**
   * @param saved - what to resume from; undefined to start afresh
   * @param onProcessed - awaited before the next sync; it must not reject, or the SDK's loop ends
   */
  constructor(saved: ISavedSync | undefined, onProcessed: (data: ISyncResponse) => Promise<void>) {
    super();
    this.#saved = saved;
    this.#onProcessed = onProcessed;
  }

  override getSavedSync(): Promise<ISavedSync | null> {
    const saved = this.#saved ?? null;
    this.#saved = undefined; // asked for once, and large
    return Promise.resolve(saved);
  }

  override getSavedSyncToken(): Promise<string | null> {
    return Promise.resolve(this.#saved?.nextBatch ?? null);
  }

  override async setSyncData(data: ISyncResponse): Promise<void> {
    await this.#onProcessed(data);
  }
}
