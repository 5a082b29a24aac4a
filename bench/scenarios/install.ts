import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdtemp, readdir, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { repository } from '../harness/library.ts';
import type { Scenario } from '../harness/scenario.ts';

const run = promisify(execFile);

async function sizeOf(folder: string): Promise<{ bytes: number; packages: number }> {
  const files = await readdir(folder, { recursive: true, withFileTypes: true });
  let bytes = 0;
  let packages = 0;
  for (const file of files) {
    if (!file.isFile()) continue;
    bytes += (await stat(join(file.parentPath, file.name))).size;
    const inside = /node_modules\/(@[^/]+\/)?[^/]+$/.test(file.parentPath);
    if (file.name === 'package.json' && inside) packages++;
  }
  return { bytes, packages };
}

/** What `npm install` of one package puts into an empty project. */
async function install(what: string): Promise<{ bytes: number; packages: number }> {
  const dir = await mkdtemp(join(tmpdir(), 'bench-install-'));
  try {
    await writeFile(join(dir, 'package.json'), JSON.stringify({ private: true }));
    await run('npm', ['install', '--no-audit', '--no-fund', '--prefer-offline', '--ignore-scripts', what], {
      cwd: dir,
    });
    return await sizeOf(join(dir, 'node_modules'));
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
}

export const installSize: Scenario = {
  name: 'install',
  title: 'Installing it',
  how: 'The packed package, and what it brings into an empty project, beside matrix-js-sdk alone.',
  rounds: 1,
  measures: ({ quick }) => [
    { id: 'packed', title: 'Tarball', unit: 'KiB', reference: 'bare' },
    ...(quick
      ? []
      : ([
          { id: 'installed', title: 'node_modules', unit: 'MiB', reference: 'bare' },
          { id: 'packages', title: 'Packages in node_modules', unit: 'count', reference: 'bare' },
        ] as const)),
  ],
  run: async ({ options }, record) => {
    if (!existsSync(join(repository, 'dist/index.d.ts'))) await run('npm', ['run', 'build'], { cwd: repository });
    const dir = await mkdtemp(join(tmpdir(), 'bench-pack-'));
    try {
      const pack = ['pack', '--ignore-scripts', '--json', '--pack-destination', dir];
      const { stdout } = await run('npm', pack, { cwd: repository });
      const [{ filename, size }] = JSON.parse(stdout) as [{ filename: string; size: number }];
      record('packed', 'ours', size / 1_024);
      if (options.quick) return;
      const { version } = (await import('matrix-js-sdk/package.json', { with: { type: 'json' } })).default;
      for (const [name, what] of [
        ['ours', join(dir, filename)],
        ['bare', `matrix-js-sdk@${version}`],
      ] as const) {
        const { bytes, packages } = await install(what);
        record('installed', name, bytes / 2 ** 20);
        record('packages', name, packages);
      }
    } finally {
      await rm(dir, { recursive: true, force: true });
    }
  },
};
