import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Results } from '../../bench/report/results.ts';
import { scenarios } from '../../bench/scenarios/all.ts';
import { repository } from './consumer.js';
import { run } from './run.js';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'bench-'));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

async function written(ending: string): Promise<string[]> {
  const names = (await readdir(folder)).filter((name) => name.endsWith(ending));
  return Promise.all(names.map((name) => readFile(join(folder, name), 'utf8')));
}

describe('npm run bench -- --quick', () => {
  it('runs every scenario through', async () => {
    const output = await run('npm', ['run', 'bench', '--', '--quick', '--out', folder], repository);
    expect(scenarios.map(({ title }) => title).filter((title) => !output.includes(title))).toEqual([]);
  }, 300_000);

  it('writes what every contender of every measure had, as numbers', async () => {
    const [json = '{}', ...others] = await written('.json');
    expect(others).toEqual([]);
    const { scenarios: results } = JSON.parse(json) as Results;
    const missing = scenarios.flatMap(({ name, measures }) => {
      const values = results.find(({ scenario }) => scenario === name)?.values ?? {};
      const isThere = (id: string): boolean =>
        Object.values(values[id] ?? {}).some((rounds) => rounds.every(Number.isFinite) && rounds.length > 0);
      return measures({ quick: true, synapse: false }).filter(({ id }) => !isThere(id) || !values[id]?.['ours']);
    });
    expect(missing).toEqual([]);
  });

  it('writes a report with a verdict on every target, and a chart where there is one', async () => {
    const [report = ''] = await written('.md');
    const targets = scenarios.flatMap(({ targets }) => targets?.({ quick: true, synapse: false }) ?? []);
    expect(targets.filter(({ text }) => !report.includes(text))).toEqual([]);
    const links = [...report.matchAll(/\]\(\.\/([^)]+\.svg)\)/g)].map(([, file = '']) => file);
    expect((await readdir(folder)).filter((name) => name.endsWith('.svg')).toSorted()).toEqual(links.toSorted());
    for (const svg of await written('.svg')) expect(svg).toMatch(/^<svg [^>]+>[^]+<\/svg>\n$/);
  });
});
