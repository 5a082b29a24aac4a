/**
 * `npm run bench:growth -- --events 20000 [--quick] [--bare-events 20000] [--prof]`: what an event costs after many
 * others have come through the same room, in the library and in matrix-js-sdk as it is. Each runs in a process of its
 * own, one after the other, on a fresh fake homeserver in a third one.
 */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import type { Connection, Told, Work } from './growth/protocol.js';

type Result = Extract<Told, { done: unknown }>['done'];

const BLOCK = 4_000;
/** What the bare SDK is given at most: at 100,000 events it would take longer than anybody waits. */
const BARE_EVENTS = 20_000;

const { values } = parseArgs({
  options: {
    events: { type: 'string', default: '20000' },
    'bare-events': { type: 'string' },
    quick: { type: 'boolean', default: false },
    /** Writes a CPU profile of the library's run into the current folder. */
    prof: { type: 'boolean', default: false },
  },
});

const script = (name: string): string => fileURLToPath(new URL(`growth/${name}.ts`, import.meta.url));

async function measure(work: Pick<Work, 'by' | 'events' | 'block'>): Promise<Result> {
  const tsx = ['--no-warnings', '--import', 'tsx'];
  const homeserver = fork(script('homeserver'), { execArgv: tsx });
  const [connection] = (await once(homeserver, 'message')) as [Connection];
  const prof = values.prof && work.by === 'ours' ? ['--cpu-prof'] : [];
  const execArgv = [...tsx, '--expose-gc', ...prof];
  const measured = fork(script('measured'), [JSON.stringify({ ...connection, ...work })], {
    execArgv,
    stdio: ['ignore', 'ignore', 'inherit', 'ipc'], // the SDK has loggers that cannot be told to be quiet
  });
  try {
    return await new Promise<Result>((resolve, reject) => {
      measured.on('exit', (code) => reject(new Error(`the measured process ended with ${code}`)));
      measured.on('message', (told: Told) => {
        if ('more' in told) homeserver.send(told.more);
        else resolve(told.done);
      });
    });
  } finally {
    for (const child of [measured, homeserver]) {
      child.removeAllListeners('exit');
      const gone = once(child, 'exit');
      child.disconnect(); // both end by themselves then
      await gone;
    }
  }
}

const cell = (value: number | undefined): string => (value === undefined ? '' : value.toFixed(0)).padStart(12);

function growth({ cpuPerEvent }: Result): string {
  return ((cpuPerEvent.at(-1) ?? Number.NaN) / (cpuPerEvent[0] ?? Number.NaN)).toFixed(2).padStart(12);
}

function heap(result: Result): string {
  return (result.heap / 2 ** 20).toFixed(1).padStart(12);
}

function table(ours: Result, bare: Result, block: number): string {
  const rows = Array.from({ length: Math.max(ours.cpuPerEvent.length, bare.cpuPerEvent.length) }, (_, index) => {
    const name = `up to ${(index + 1) * block}`.padEnd(24);
    return `${name}${cell(ours.cpuPerEvent[index])}${cell(bare.cpuPerEvent[index])}`;
  });
  return [
    `${'us of CPU per event'.padEnd(24)}${'ours'.padStart(12)}${'bare SDK'.padStart(12)}`,
    ...rows,
    `${'last block / first'.padEnd(24)}${growth(ours)}${growth(bare)}`,
    `${'heap grown by, MiB'.padEnd(24)}${heap(ours)}${heap(bare)}`,
  ].join('\n');
}

const block = values.quick ? 1_000 : BLOCK;
const events = values.quick ? 4_000 : Number(values.events);
const bareEvents = Math.min(events, Number(values['bare-events'] ?? BARE_EVENTS));
const ours = await measure({ by: 'ours', events, block });
const bare = await measure({ by: 'bare', events: bareEvents, block });
console.log(table(ours, bare, block));
