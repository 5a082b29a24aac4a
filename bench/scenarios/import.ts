import { fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { entryUrl, hasEntry } from '../harness/library.ts';
import type { Scenario } from '../harness/scenario.ts';

const script = fileURLToPath(new URL('../processes/import.ts', import.meta.url));

async function importIt(url: string): Promise<{ ms: number; cpuMs: number; rss: number }> {
  const child = fork(script, [url], { execArgv: ['--no-warnings'], stdio: ['ignore', 'ignore', 'inherit', 'ipc'] });
  const ended = once(child, 'exit');
  const [answer] = (await once(child, 'message')) as [{ ms: number; cpuMs: number; rss: number }];
  await ended;
  return answer;
}

export const importTime: Scenario = {
  name: 'import',
  title: 'Importing it',
  how:
    'One import in a process that has imported nothing else; "nothing" imports an empty module. The library loads ' +
    'matrix-js-sdk when it starts its first client, so there is a line for both together.',
  rounds: 25,
  measures: () => [
    { id: 'import', title: 'Import', unit: 'ms', reference: 'bare', chart: true },
    { id: 'cpu', title: 'CPU of the import', unit: 'ms', reference: 'bare' },
    { id: 'rss', title: 'RSS after the import', unit: 'MiB', reference: 'bare' },
  ],
  targets: () => [
    {
      text: 'import time at most 1.1 x importing matrix-js-sdk',
      measure: 'import',
      of: 'ours',
      limits: [{ kind: 'ratio', over: 'bare', atMost: 1.1 }],
    },
  ],
  run: async ({ options }, record) => {
    const imports = {
      ours: entryUrl('index'),
      // The library loads the SDK when it starts its first client.
      'ours-with-sdk': `${entryUrl('index')} ${import.meta.resolve('matrix-js-sdk')}`,
      ...(hasEntry('undici') && { 'ours-undici': entryUrl('undici') }),
      bare: import.meta.resolve('matrix-js-sdk'),
      nothing: 'data:text/javascript,',
    };
    for (const url of Object.values(imports)) await importIt(url); // into the file cache
    for (let round = 0; round < options.rounds; round++) {
      for (const [name, url] of Object.entries(imports)) {
        const { ms, cpuMs, rss } = await importIt(url);
        record('import', name, ms);
        record('cpu', name, cpuMs);
        record('rss', name, rss / 2 ** 20);
      }
    }
  },
};
