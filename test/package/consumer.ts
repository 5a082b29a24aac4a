import { cp, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';

import packageJson from '../../package.json' with { type: 'json' };
import { run } from './run.js';

export const repository = resolve(import.meta.dirname, '../..');

/** The versions that the repository itself is built and tested with. */
export const { devDependencies } = packageJson;

/** A program of somebody else, which has installed the package from its tarball, and nothing of ours besides. */
export class Consumer implements AsyncDisposable {
  readonly dir: string;

  private constructor(dir: string) {
    this.dir = dir;
  }

  static async install(): Promise<Consumer> {
    const consumer = new Consumer(await mkdtemp(join(tmpdir(), 'consumer-')));
    const pack = ['pack', '--ignore-scripts', '--silent', '--pack-destination', consumer.dir];
    const tarball = (await run('npm', pack, repository)).trim();
    await writeFile(join(consumer.dir, 'package.json'), JSON.stringify({ name: 'consumer', private: true }));
    const packages = [`./${tarball}`, `@types/node@${devDependencies['@types/node']}`];
    await run('npm', ['install', '--no-audit', '--no-fund', '--prefer-offline', ...packages], consumer.dir);
    const files = join(import.meta.dirname, 'consumer-files');
    await cp(files, consumer.dir, { recursive: true });
    for (const copy of ['typed.cts', 'typed.ts']) await cp(join(files, 'typed.mts'), join(consumer.dir, copy));
    return consumer;
  }

  /** Installs other packages beside ours, such as optional peers. */
  async add(...names: readonly string[]): Promise<void> {
    await run('npm', ['install', '--no-audit', '--no-fund', '--prefer-offline', ...names], this.dir);
  }

  /** Checks one file with TypeScript as a strict Node program would, and gives what tsc says: nothing if all is well. */
  async typecheck(file: string, options: Readonly<Record<string, string | boolean>>): Promise<string> {
    const config = `tsconfig-${file}.json`;
    const compilerOptions = {
      target: 'ES2023',
      lib: ['ES2024', 'ESNext.Disposable', 'DOM'], // matrix-js-sdk's types need the DOM's
      strict: true,
      exactOptionalPropertyTypes: true,
      noEmit: true,
      types: ['node'],
      ...options,
    };
    await writeFile(join(this.dir, config), JSON.stringify({ compilerOptions, files: [file] }));
    const tsc = join(repository, 'node_modules/typescript/bin/tsc');
    return run(process.execPath, [tsc, '--pretty', 'false', '-p', config], this.dir, { acceptFailure: true });
  }

  run(program: string, ...args: string[]): Promise<string> {
    return run(program, args, this.dir);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await rm(this.dir, { recursive: true, force: true });
  }
}
