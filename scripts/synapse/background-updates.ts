import { setTimeout as sleep } from 'node:timers/promises';

const DONE_WITHIN_MS = 60_000;

/**
 * Waits until a fresh Synapse has built all its indexes. Until then some requests fail with 500, such as the
 * reactivation of a user ("ON CONFLICT clause does not match any PRIMARY KEY or UNIQUE constraint").
 */
export async function untilIndexed(baseUrl: string, adminToken: string): Promise<void> {
  const deadline = performance.now() + DONE_WITHIN_MS;
  for (;;) {
    const response = await fetch(`${baseUrl}/_synapse/admin/v1/background_updates/status`, {
      headers: { authorization: `Bearer ${adminToken}` },
    });
    const { current_updates: running } = (await response.json()) as { current_updates?: object };
    if (running !== undefined && Object.keys(running).length === 0) return;
    if (performance.now() > deadline) {
      throw new Error(`Synapse still builds indexes after ${DONE_WITHIN_MS / 1000} s: ${JSON.stringify(running)}`);
    }
    await sleep(50);
  }
}
