import type { MatrixClientManager } from 'matrix-client-manager';
import type { Homeserver } from '../../examples/homeserver.js';

/** One of the demo's users. */
export interface Person {
  /** Names the user in the page's URLs. */
  readonly key: string;
  readonly name: string;
  readonly userId: string;
}

/** The demo's users, by key. */
export type People = ReadonlyMap<string, Person>;

/** Makes the accounts of Alice and Bob. */
export async function provisionPeople(
  manager: MatrixClientManager,
  homeserver: Homeserver,
  signal: AbortSignal | undefined,
): Promise<People> {
  const people = new Map<string, Person>();
  for (const name of ['Alice', 'Bob']) {
    const key = name.toLowerCase();
    const username = homeserver.username(`demo-${key}`);
    const { userId } = await manager.provisionUser({ username, displayName: name, ...(signal && { signal }) });
    people.set(key, { key, name, userId });
  }
  return people;
}
