import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { cpus, release, totalmem } from 'node:os';
import { join } from 'node:path';
import { repository } from '../harness/library.ts';
import type { Size } from '../harness/scenario.ts';

/** By measure and contender, what each round gave. */
export type Values = { [measure: string]: { [contender: string]: number[] } };

/** What one scenario gave on one homeserver, all contenders in the same rounds. */
export interface ScenarioResult extends Size {
  readonly scenario: string;
  readonly measuredAt: string;
  readonly commit: string;
  readonly seconds: number;
  readonly values: Values;
}

export interface Results {
  readonly date: string;
  readonly machine: string;
  readonly scenarios: readonly ScenarioResult[];
}

export function thisMachine(): string {
  const [cpu] = cpus();
  const memory = Math.round(totalmem() / 2 ** 30);
  const model = cpu?.model.replaceAll(/\s+/g, ' ').trim() ?? 'unknown CPU';
  return `${cpus().length} x ${model}, ${memory} GiB, ${process.platform} ${release()}, Node ${process.versions.node}`;
}

/** The commit that is measured; with a + where files differ from it. */
export function thisCommit(): string {
  try {
    const changed = git('status', '--porcelain', '--', 'src', 'package-lock.json') !== '';
    return git('rev-parse', '--short', 'HEAD') + (changed ? '+' : '');
  } catch {
    return 'unknown';
  }
}

export function load(folder: string, name: string): Results | undefined {
  const path = join(folder, `${name}.json`);
  return existsSync(path) ? (JSON.parse(readFileSync(path, 'utf8')) as Results) : undefined;
}

function git(...args: string[]): string {
  return execFileSync('git', args, { cwd: repository, encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).trim();
}

/** Adds what was measured to what the file of the same name holds; a scenario measured again replaces the earlier. */
export function save(folder: string, name: string, measured: Results): Results {
  const earlier = (load(folder, name)?.scenarios ?? []).filter(
    (kept) => !measured.scenarios.some((fresh) => isSame(kept, fresh)),
  );
  const results = { ...measured, scenarios: [...earlier, ...measured.scenarios] };
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, `${name}.json`), `${JSON.stringify(results, undefined, 1)}\n`);
  return results;
}

function isSame(a: ScenarioResult, b: ScenarioResult): boolean {
  return a.scenario === b.scenario && a.synapse === b.synapse && a.quick === b.quick;
}
