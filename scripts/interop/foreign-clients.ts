import { resolve } from 'node:path';

import type { Report } from '../synapse/python-venv.js';
import { buildMautrix } from './mautrix.js';
import { installNio } from './nio.js';

/** The Matrix clients of others that the library is tried with, each with the crypto library that it stands on. */
export const foreignClients = {
  'matrix-nio 0.26 (vodozemac)': installNio('0.26.0'),
  'matrix-nio 0.25 (libolm)': installNio('0.25.2', ['cmake', 'make', 'cc', 'c++']),
  'mautrix-go 0.32 (goolm)': buildMautrix,
} satisfies Record<string, (home: string, report: Report) => Promise<Installed>>;

export type ForeignClientName = keyof typeof foreignClients;

/** How to run a client, or why this machine cannot have it. */
export type Installed = { readonly command: readonly [string, ...string[]] } | { readonly unavailable: string };

/** Where they are installed: kept until a version or a source file changes. */
const home = resolve(import.meta.dirname, '../../.interop');

/**
 * Installs the clients with the machine's pip and Go, and so from the package indexes that these are set up for.
 * @throws when an installation fails that this machine has all tools for
 */
export async function installForeignClients(
  names: readonly ForeignClientName[],
  report: Report,
): Promise<Partial<Record<ForeignClientName, Installed>>> {
  const installed: Partial<Record<ForeignClientName, Installed>> = {};
  for (const name of names) {
    const found = await foreignClients[name](home, report);
    if ('unavailable' in found) report(`Tests with ${name} are skipped: ${found.unavailable}`);
    installed[name] = found;
  }
  return installed;
}
