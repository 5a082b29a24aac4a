import { onTestFinished } from 'vitest';
import type { HomeserverTarget } from '../../../src/testing/contracts/homeserver-contract.js';
import { FakeHomeserver } from '../../../src/testing/fake-homeserver/fake-homeserver.js';
import { changeEvents } from '../../../src/testing/fake-homeserver/server/change-events.js';
import type { ChangeEvent } from '../../../src/testing/fake-homeserver/server/change-events.js';

/** A homeserver that can lie about events. */
export interface LyingHomeserver {
  readonly target: HomeserverTarget;
  /** Changes the events of all responses from now on. @returns what ends the lie */
  rewriteEvents(change: ChangeEvent): () => void;
}

export async function lyingFake(): Promise<LyingHomeserver & { readonly target: FakeHomeserver }> {
  const target = new FakeHomeserver();
  onTestFinished(() => target.close());
  return { target, rewriteEvents: (change) => target.faults.rewriteEvents({}, change) };
}

/** A proxy before a real homeserver. */
export function lyingProxy({ baseUrl, serverName, admin }: HomeserverTarget): LyingHomeserver {
  const lies = new Set<ChangeEvent>();
  const proxied: typeof globalThis.fetch = async (input, init) => {
    const response = await fetch(input, init);
    const isJson = response.headers.get('content-type')?.startsWith('application/json');
    if (!isJson || response.status !== 200) return response;
    let body: unknown = await response.json();
    for (const lie of lies) body = changeEvents(body, lie);
    return Response.json(body);
  };
  return {
    target: { baseUrl, serverName, admin, fetch: proxied },
    rewriteEvents: (change) => {
      lies.add(change);
      return () => lies.delete(change);
    },
  };
}
