import { parseArgs } from 'node:util';

const DEFAULT_PORT = 8787;

export const usage = `Usage: matrix-client-manager demo [options]

Opens a page with two users who chat, on a homeserver in this process or on yours.

  --port NUMBER          the port on this machine; 0: any that is free (default: ${DEFAULT_PORT})
  --no-open              do not open the browser
  --homeserver URL       run on this homeserver         (or MATRIX_HOMESERVER_URL)
  --admin-user ID        a server admin of it           (or MATRIX_ADMIN_USER)
  --admin-token TOKEN    the admin's access token, or   (or MATRIX_ADMIN_TOKEN)
  --admin-password PASS  the admin's password           (or MATRIX_ADMIN_PASSWORD)
  --help                 show this text

Other users of the machine can see arguments of programs: give tokens and passwords by the environment.
On a homeserver of yours, the demo makes two accounts and deactivates them when it ends.`;

/** What the arguments ask for. */
export type Command = { readonly name: 'help' } | { readonly name: 'invalid'; readonly problem: string } | DemoCommand;

export interface DemoCommand {
  readonly name: 'demo';
  readonly port: number;
  /** Whether to open the browser, if there is a display. */
  readonly open: boolean;
  /** The environment, with the homeserver that the arguments name. */
  readonly env: NodeJS.ProcessEnv;
}

/** Reads the arguments. Options that are not given as arguments come from `env`. */
export function readCommand(args: readonly string[], env: NodeJS.ProcessEnv = process.env): Command {
  try {
    return read(args, env);
  } catch (error) {
    return { name: 'invalid', problem: error instanceof Error ? error.message : String(error) };
  }
}

function read(args: readonly string[], env: NodeJS.ProcessEnv): Command {
  const { values, positionals } = parseArgs({
    args: [...args],
    allowPositionals: true,
    options: {
      port: { type: 'string' },
      'no-open': { type: 'boolean' },
      homeserver: { type: 'string' },
      'admin-user': { type: 'string' },
      'admin-token': { type: 'string' },
      'admin-password': { type: 'string' },
      help: { type: 'boolean', short: 'h' },
    },
  });
  if (values.help) return { name: 'help' };
  const [name, ...others] = positionals;
  if (name === undefined) throw new Error('Expected a command: demo');
  if (name !== 'demo') throw new Error(`Unknown command '${name}': expected demo`);
  if (others[0] !== undefined) throw new Error(`Unexpected argument '${others[0]}'`);
  return {
    name,
    port: values.port === undefined ? DEFAULT_PORT : readPort(values.port),
    open: !values['no-open'],
    env: {
      ...env,
      ...(values.homeserver !== undefined && { MATRIX_HOMESERVER_URL: values.homeserver }),
      ...(values['admin-user'] !== undefined && { MATRIX_ADMIN_USER: values['admin-user'] }),
      ...(values['admin-token'] !== undefined && { MATRIX_ADMIN_TOKEN: values['admin-token'] }),
      ...(values['admin-password'] !== undefined && { MATRIX_ADMIN_PASSWORD: values['admin-password'] }),
    },
  };
}

function readPort(text: string): number {
  const port = Number(text);
  if (/^\d{1,5}$/.test(text) && port <= 65_535) return port;
  throw new Error(`Expected --port to be a number from 0 to 65535, got '${text}'`);
}
