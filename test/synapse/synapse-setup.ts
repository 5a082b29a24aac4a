import type { TestProject } from 'vitest/node';

import { startSynapse } from '../../scripts/synapse/start-synapse.js';

export interface SynapseConnection {
  readonly baseUrl: string;
  readonly serverName: string;
  readonly admin: { readonly userId: string; readonly accessToken: string; readonly password: string };
}

declare module 'vitest' {
  interface ProvidedContext {
    synapse: SynapseConnection;
  }
}

/** Starts Synapse for the whole run; tests get it with `inject('synapse')`. A failure to start fails the run. */
export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const synapse = await startSynapse();
  const { baseUrl, serverName, admin } = synapse;
  project.provide('synapse', { baseUrl, serverName, admin });
  return () => synapse.stop();
}
