import { appendFileSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';

/** A file with every line of a run's workers, with the time since the run began in milliseconds. */
export class RunLog {
  readonly path = join(mkdtempSync(join(tmpdir(), 'mcm-encryption-log-')), 'workers.log');
  readonly #beganAt = performance.now();

  add(line: string): void {
    appendFileSync(this.path, `${Math.round(performance.now() - this.#beganAt)} ${line}\n`);
  }

  remove(): void {
    rmSync(dirname(this.path), { recursive: true });
  }
}
