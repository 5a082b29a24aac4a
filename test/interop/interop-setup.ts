import type { TestProject } from 'vitest/node';

import { installForeignClients } from '../../scripts/interop/foreign-clients.js';
import type { ForeignClientName, Installed } from '../../scripts/interop/foreign-clients.js';
import startSynapse from '../synapse/synapse-setup.js';
import { clientsOfThisRun } from './support/clients-of-this-run.js';

declare module 'vitest' {
  interface ProvidedContext {
    foreignClients: Partial<Record<ForeignClientName, Installed>>;
  }
}

/** Installs the foreign clients and starts Synapse for the whole run. A failure fails the run. */
export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const report = (line: string): void => void process.stderr.write(`${line}\n`);
  project.provide('foreignClients', await installForeignClients(clientsOfThisRun, report));
  return startSynapse(project);
}
