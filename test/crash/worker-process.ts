import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import type { WorkerLine, WorkerSpec } from './worker-protocol.js';

/** A worker in a process of its own. */
export interface WorkerProcess {
  /** Resolves when it has ended and every line of it has been read. */
  readonly ended: Promise<void>;
  kill(): void;
  /** Lets it finish what it has begun, tell of its dead letters, and end. */
  finish(): void;
}

export function startWorker(spec: WorkerSpec, onLine: (line: WorkerLine) => void): WorkerProcess {
  const script = fileURLToPath(new URL('worker.ts', import.meta.url));
  const child = spawn(process.execPath, ['--no-warnings', '--import', 'tsx', script, JSON.stringify(spec)], {
    stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
  });
  const reader = createInterface({ input: child.stdout as NonNullable<typeof child.stdout> });
  reader.on('line', (line) => {
    if (line.endsWith('}')) onLine(JSON.parse(line) as WorkerLine); // the last one may have been cut by the kill
  });
  child.stderr?.on('data', (data: Buffer) => process.stderr.write(data));
  return {
    ended: Promise.all([once(child, 'close'), once(reader, 'close')]).then(() => {}),
    kill: () => void child.kill('SIGKILL'),
    finish: () => void child.send('finish', () => {}),
  };
}
