import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { createHmac, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { cp, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';

import type { RunningSynapse } from '../../scripts/synapse/start-synapse.js';
import { repository } from './consumer.js';
import { run } from './run.js';

const jwtSecret = randomBytes(16).toString('hex');
const storageSecret = randomBytes(16).toString('hex');

/** A token as the sign-in service of the host application would make it. */
export function tokenOf(tenant: string, username: string): string {
  const part = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url');
  const signed = `${part({ alg: 'HS256', typ: 'JWT' })}.${part({ tenant, sub: username })}`;
  return `${signed}.${createHmac('sha256', jwtSecret).update(signed).digest('base64url')}`;
}

/** The example in a folder of its own, with its packages and ours from the tarball. It runs as a process. */
export class ChatService implements AsyncDisposable {
  readonly #dir: string;
  #child: ChildProcess | undefined;
  /** What the process has printed since its start. */
  output = '';
  url = '';

  private constructor(dir: string) {
    this.#dir = dir;
  }

  /** Installs and compiles it. */
  static async install(): Promise<ChatService> {
    const dir = await mkdtemp(join(tmpdir(), 'nestjs-chat-'));
    const ofCheckout = new Set(['node_modules', 'dist', 'data']);
    const source = join(repository, 'examples/nestjs-chat');
    await cp(source, dir, { recursive: true, filter: (path) => !ofCheckout.has(basename(path)) });
    const pack = ['pack', '--ignore-scripts', '--silent', '--pack-destination', dir];
    const tarball = (await run('npm', pack, repository)).trim();
    await run('npm', ['install', '--no-audit', '--no-fund', '--prefer-offline', `./${tarball}`], dir);
    await run('npm', ['run', 'build'], dir);
    return new ChatService(dir);
  }

  /** Starts the process and waits until it listens. */
  async start(tenants: Readonly<Record<string, RunningSynapse>>): Promise<void> {
    const ofTenants = Object.entries(tenants).flatMap(([id, { baseUrl, admin }]) => [
      [`TENANT_${id.toUpperCase()}_HOMESERVER_URL`, baseUrl],
      [`TENANT_${id.toUpperCase()}_ADMIN_USER`, admin.userId],
      [`TENANT_${id.toUpperCase()}_ADMIN_PASSWORD`, admin.password],
    ]);
    const env = {
      ...process.env,
      ...Object.fromEntries(ofTenants),
      TENANTS: Object.keys(tenants).join(','),
      DATA_FOLDER: join(this.#dir, 'data'),
      STORAGE_SECRET: storageSecret,
      JWT_SECRET: jwtSecret,
      PORT: '0',
      NO_COLOR: '1',
    };
    const child = spawn(process.execPath, ['dist/main.js'], { cwd: this.#dir, env, stdio: ['ignore', 'pipe', 'pipe'] });
    this.#child = child;
    this.output = '';
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding('utf8').on('data', (text: string) => (this.output += text));
    }
    const ended = once(child, 'close');
    for (;;) {
      const port = this.output.match(/Listening on \S+:(\d+)/)?.[1];
      this.url = `http://127.0.0.1:${port}`;
      if (port !== undefined) return;
      if (child.exitCode !== null) throw new Error(`the service ended: ${this.output}`);
      await Promise.race([once(child.stdout, 'data'), ended]);
    }
  }

  /** Resolves when the process has ended, to the signal or the exit code by which it did. */
  async end(signal: NodeJS.Signals): Promise<NodeJS.Signals | number | null> {
    const child = this.#child;
    if (!child || child.exitCode !== null || child.signalCode !== null) return null;
    const closed = once(child, 'close');
    child.kill(signal);
    await closed;
    return child.signalCode ?? child.exitCode;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.end('SIGKILL');
    await rm(this.#dir, { recursive: true, force: true });
  }
}
