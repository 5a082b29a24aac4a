import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';

import { ensureAdmin, type AdminAccount } from './admin-account.js';
import { untilIndexed } from './background-updates.js';
import { writeConfig } from './config.js';
import { externalSynapse } from './external-synapse.js';
import { freePort } from './free-port.js';
import { ensureSynapse } from './install.js';
import { SynapseProcess } from './synapse-process.js';

export interface StartSynapseOptions {
  /** @default a free port */
  readonly port?: number | undefined;
  /** Folder for database, configuration and log; kept at the stop. @default a temporary one, removed at the stop */
  readonly dir?: string | undefined;
  /** Entries for Synapse's homeserver.yaml that replace ours. @default {} */
  readonly extraConfig?: Record<string, unknown> | undefined;
  /** Gets a line for each step that takes long. @default writes to standard error */
  readonly report?: ((line: string) => void) | undefined;
}

export interface RunningSynapse {
  readonly baseUrl: string;
  readonly serverName: string;
  readonly admin: AdminAccount;
  /** Ends it in order; what was made for it alone is removed. */
  stop(): Promise<void>;
  /** Ends it as a crash would; `restart` brings it back. */
  kill(): Promise<void>;
  /** Starts it again on the same port with the same data, ending it in order first if it still runs. */
  restart(): Promise<void>;
}

/**
 * Starts a real Synapse on this machine and waits until it answers; or, where `SYNAPSE_URL`, `SYNAPSE_ADMIN_USER` and
 * `SYNAPSE_ADMIN_PASSWORD` are set, uses the one that runs there. It never outlives the process that called this.
 * @throws with what failed and what to do about it; nothing is left running.
 */
export async function startSynapse(options: StartSynapseOptions = {}): Promise<RunningSynapse> {
  const external = await externalSynapse(options);
  if (external) return external;
  const python = await ensureSynapse(options.report ?? ((line) => process.stderr.write(`${line}\n`)));
  const dir = options.dir ? resolve(options.dir) : await mkdtemp(join(tmpdir(), 'synapse-'));
  if (!options.dir) await writeFile(join(dir, 'temporary'), ''); // for run_while_parent_lives.py
  const cleanUp = async (): Promise<void> => {
    if (!options.dir) await rm(dir, { recursive: true, force: true });
  };
  try {
    return await startIn(dir, python, options, cleanUp);
  } catch (error) {
    await cleanUp();
    throw error;
  }
}

async function startIn(
  dir: string,
  python: string,
  options: StartSynapseOptions,
  cleanUp: () => Promise<void>,
): Promise<RunningSynapse> {
  const port = await freePort(options.port);
  const baseUrl = `http://127.0.0.1:${port}`;
  const config = await writeConfig(dir, port, options.extraConfig ?? {});
  const start = (): Promise<SynapseProcess> => SynapseProcess.start(python, dir, config.path, baseUrl);
  let running = await start();
  try {
    const admin = await ensureAdmin(python, dir, config.path, baseUrl);
    await untilIndexed(baseUrl, admin.accessToken);
    return {
      baseUrl,
      serverName: config.serverName,
      admin,
      async stop() {
        await running.end('SIGTERM');
        await cleanUp();
      },
      kill: () => running.end('SIGKILL'),
      async restart() {
        await running.end('SIGTERM');
        running = await start();
      },
    };
  } catch (error) {
    await running.end('SIGKILL');
    throw error;
  }
}
