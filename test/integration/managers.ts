import { randomBytes } from 'node:crypto';
import { afterEach } from 'vitest';
import { MatrixClientManager } from '../../src/index.js';
import type { AdminAccount, MatrixClientManagerOptions, Transport } from '../../src/index.js';

export interface Homeserver {
  readonly homeserverUrl: string;
  readonly admin: AdminAccount;
  readonly transport?: Transport;
  readonly slidingSync?: boolean;
}

/** Makes managers on the homeserver, which are shut down after each test; `run` tells the usernames of this run. */
export function managersOn(homeserver: () => Homeserver) {
  const managers: MatrixClientManager[] = [];
  afterEach(async () => {
    await Promise.all(managers.splice(0).map((manager) => manager.shutdown()));
  });
  const makeManager = (options: Partial<MatrixClientManagerOptions> = {}): MatrixClientManager => {
    const manager = new MatrixClientManager({ ...homeserver(), ...options });
    managers.push(manager);
    return manager;
  };
  return { makeManager, run: randomBytes(4).toString('hex') };
}
