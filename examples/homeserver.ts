import { randomBytes } from 'node:crypto';
import type { AdminAccount } from 'matrix-client-manager';
import { FakeHomeserver } from 'matrix-client-manager/testing';

/** The homeserver that an example talks to. */
export interface Homeserver extends AsyncDisposable {
  readonly url: string;
  readonly admin: AdminAccount;
  /** In words, for the example's output. */
  readonly description: string;
  /** Whether it ends with the example. */
  readonly embedded: boolean;
  /**
   * A username for one of the example's users. On a homeserver of yours it is new with every run, since provisioning
   * an account that exists gives it a new password.
   */
  username(name: string): string;
}

/** The homeserver that `MATRIX_HOMESERVER_URL` and its companions name, or one in this process on a port of its own. */
export async function openHomeserver(env: NodeJS.ProcessEnv = process.env): Promise<Homeserver> {
  const url = env['MATRIX_HOMESERVER_URL'];
  if (url) {
    const run = randomBytes(3).toString('hex');
    return {
      url,
      admin: readAdmin(env),
      description: `the homeserver at ${url}`,
      embedded: false,
      username: (name) => `${name}-${run}`,
      [Symbol.asyncDispose]: async () => {},
    };
  }
  const stray = ['MATRIX_ADMIN_USER', 'MATRIX_ADMIN_TOKEN', 'MATRIX_ADMIN_PASSWORD'].find((name) => env[name]);
  if (stray) throw new Error(`${stray} is set, and MATRIX_HOMESERVER_URL is not: set both to run on your homeserver`);
  const fake = new FakeHomeserver();
  await fake.listen();
  return {
    url: fake.baseUrl,
    admin: { userId: fake.admin.userId, accessToken: fake.admin.accessToken },
    description: `an embedded homeserver at ${fake.baseUrl}`,
    embedded: true,
    username: (name) => name,
    [Symbol.asyncDispose]: () => fake.close(),
  };
}

function readAdmin(env: NodeJS.ProcessEnv): AdminAccount {
  const userId = env['MATRIX_ADMIN_USER'];
  const accessToken = env['MATRIX_ADMIN_TOKEN'];
  const password = env['MATRIX_ADMIN_PASSWORD'];
  if (!userId) {
    throw new Error(
      'expected MATRIX_ADMIN_USER beside MATRIX_HOMESERVER_URL: a server admin such as @admin:example.org',
    );
  }
  if (accessToken) return { userId, accessToken, ...(password && { password }) };
  if (password) return { userId, password };
  throw new Error('expected MATRIX_ADMIN_TOKEN or MATRIX_ADMIN_PASSWORD beside MATRIX_HOMESERVER_URL');
}
