import { logIn } from './admin-account.js';
import type { RunningSynapse, StartSynapseOptions } from './start-synapse.js';

/**
 * The Synapse that `SYNAPSE_URL`, `SYNAPSE_ADMIN_USER` and `SYNAPSE_ADMIN_PASSWORD` name, such as the official Docker
 * image with its rate limits raised; `undefined` where the first is not set. It is used, never stopped.
 */
export async function externalSynapse(options: StartSynapseOptions): Promise<RunningSynapse | undefined> {
  const url = process.env['SYNAPSE_URL'];
  if (!url) return undefined;
  const user = process.env['SYNAPSE_ADMIN_USER'];
  const password = process.env['SYNAPSE_ADMIN_PASSWORD'];
  if (!user || !password) {
    throw new Error('SYNAPSE_URL is set: set SYNAPSE_ADMIN_USER and SYNAPSE_ADMIN_PASSWORD too, or unset it');
  }
  if (options.port !== undefined || options.dir !== undefined || options.extraConfig !== undefined) {
    throw new Error('port, dir and extraConfig need a Synapse of our own: unset SYNAPSE_URL');
  }
  const baseUrl = url.replace(/\/+$/, '');
  const admin = await logIn(baseUrl, user, password);
  return {
    baseUrl,
    serverName: admin.userId.slice(admin.userId.indexOf(':') + 1),
    admin,
    stop: () => Promise.resolve(),
    kill: notOurs,
    restart: notOurs,
  };
}

function notOurs(): Promise<never> {
  return Promise.reject(new Error('the Synapse at SYNAPSE_URL is not ours to end'));
}
