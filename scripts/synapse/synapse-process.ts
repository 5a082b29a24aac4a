import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

import { tail } from './run-command.js';

const READY_WITHIN_MS = 90_000;
const STOP_WITHIN_MS = 10_000;
const runner = join(import.meta.dirname, 'run_while_parent_lives.py');

/** One run of Synapse. It ends with `end`, and always with the process that started it. */
export class SynapseProcess {
  readonly #child: ChildProcess;
  readonly #logPath: string;

  private constructor(child: ChildProcess, logPath: string) {
    this.#child = child;
    this.#logPath = logPath;
  }

  /** Starts Synapse and waits until it answers. @throws with the end of Synapse's log when it does not. */
  static async start(python: string, dir: string, configPath: string, baseUrl: string): Promise<SynapseProcess> {
    const logPath = join(dir, 'homeserver.log');
    const log = openSync(logPath, 'a');
    // A process group of its own: Ctrl-C in the terminal reaches us alone, and we stop Synapse in order.
    const child = spawn(python, [runner, '-c', configPath], { cwd: dir, stdio: ['pipe', log, log], detached: true });
    closeSync(log);
    const running = new SynapseProcess(child, logPath);
    const spawnError = new Promise<never>((_, reject) => child.once('error', reject));
    try {
      await Promise.race([running.#untilReady(baseUrl), spawnError]);
    } catch (error) {
      await running.end('SIGKILL');
      throw error;
    }
    return running;
  }

  get exited(): boolean {
    return this.#child.pid === undefined || this.#child.exitCode !== null || this.#child.signalCode !== null;
  }

  /** Ends it and resolves when it is gone; a SIGTERM that is not obeyed in time becomes a SIGKILL. */
  async end(signal: 'SIGTERM' | 'SIGKILL'): Promise<void> {
    if (this.exited) return;
    const gone = once(this.#child, 'exit');
    this.#child.kill(signal);
    const lastResort = setTimeout(() => this.#child.kill('SIGKILL'), STOP_WITHIN_MS);
    await gone;
    clearTimeout(lastResort);
  }

  async #untilReady(baseUrl: string): Promise<void> {
    const deadline = performance.now() + READY_WITHIN_MS;
    while (!(await answers(baseUrl))) {
      if (this.exited) throw await this.#failure('ended before it answered');
      if (performance.now() > deadline) throw await this.#failure(`gave no answer within ${READY_WITHIN_MS / 1000} s`);
      await sleep(50);
    }
    // What answered may have been another server on the same port, with ours dying of it.
    if (this.exited) throw await this.#failure('ended as soon as it had started');
  }

  async #failure(what: string): Promise<Error> {
    const log = await readFile(this.#logPath, 'utf8').catch(() => '');
    return new Error(`Synapse ${what}. The end of ${this.#logPath}:\n${tail(log, 30)}`);
  }
}

async function answers(baseUrl: string): Promise<boolean> {
  try {
    const response = await fetch(`${baseUrl}/_matrix/client/versions`, { signal: AbortSignal.timeout(2_000) });
    await response.arrayBuffer();
    return response.ok;
  } catch {
    return false;
  }
}
