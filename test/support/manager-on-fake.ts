import { memoryStorage, MatrixClientManager } from '../../src/index.js';
import type { MatrixClientManagerOptions } from '../../src/index.js';
import { FakeHomeserver, ManualClock, MemoryLogger } from '../../src/testing/index.js';
import type { FakeHomeserverOptions } from '../../src/testing/index.js';
import { advanceUntil } from './advance-until.js';

/** A manager on a fake homeserver of its own, both on a clock that stands still. */
export function managerOnFake(
  options: Partial<MatrixClientManagerOptions> = {},
  fakeOptions: FakeHomeserverOptions = {},
) {
  const clock = new ManualClock();
  const fake = new FakeHomeserver({ clock, ...fakeOptions });
  const logger = new MemoryLogger();
  const storage = memoryStorage();
  const { userId, accessToken } = fake.admin;
  const make = (more: Partial<MatrixClientManagerOptions> = {}): MatrixClientManager =>
    new MatrixClientManager({
      homeserverUrl: fake.baseUrl,
      admin: { userId, accessToken },
      fetch: fake.fetch,
      clock,
      logger,
      storage,
      ...options,
      ...more,
    });
  return {
    clock,
    fake,
    logger,
    storage,
    /** Makes another manager on the same homeserver, clock and storage. */
    make,
    manager: make(),
    /** What `work` comes to, while the clock runs on. */
    soon: <T>(work: Promise<T>): Promise<T> => advanceUntil(clock, work),
    /** Requests that were received at an endpoint. */
    count: (endpoint: string, method?: string): number =>
      fake.countRequests((request) => request.endpoint === endpoint && (!method || request.method === method)),
  };
}

export const USERS = '/_synapse/admin/v2/users/{userId}';
