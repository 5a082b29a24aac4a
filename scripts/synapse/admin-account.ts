import { randomBytes } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

import { runCommand, tail } from './run-command.js';

export interface AdminAccount {
  readonly userId: string;
  readonly accessToken: string;
  readonly password: string;
}

/** Makes the admin of a fresh Synapse, or finds again the one made before in the same folder, and logs in. */
export async function ensureAdmin(
  python: string,
  dir: string,
  configPath: string,
  baseUrl: string,
): Promise<AdminAccount> {
  const passwordPath = join(dir, 'admin-password');
  let password = await readFile(passwordPath, 'utf8').catch(() => undefined);
  if (password === undefined) {
    password = randomBytes(18).toString('base64url');
    await writeFile(passwordPath, password, { mode: 0o600 });
    const who = ['--user', 'admin', '--password-file', passwordPath, '--admin', '--exists-ok'];
    const script = ['-m', 'synapse._scripts.register_new_matrix_user'];
    const made = await runCommand(python, [...script, ...who, '-c', configPath, baseUrl]);
    if (made.code !== 0) throw new Error(`Synapse runs, but its admin could not be made:\n${tail(made.output)}`);
  }
  return logIn(baseUrl, 'admin', password);
}

/** Logs in with a password. `user` is a full user id or a localpart. */
export async function logIn(baseUrl: string, user: string, password: string): Promise<AdminAccount> {
  const response = await fetch(`${baseUrl}/_matrix/client/v3/login`, {
    method: 'POST',
    body: JSON.stringify({ type: 'm.login.password', identifier: { type: 'm.id.user', user }, password }),
  }).catch((cause: unknown) => {
    throw new Error(`no Synapse answers at ${baseUrl}`, { cause });
  });
  const body = (await response.json()) as { user_id?: string; access_token?: string; errcode?: string };
  if (body.user_id === undefined || body.access_token === undefined) {
    throw new Error(`${user} could not log in at ${baseUrl}: ${response.status} ${body.errcode ?? ''}`);
  }
  return { userId: body.user_id, accessToken: body.access_token, password };
}
