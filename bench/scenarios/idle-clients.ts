import { setTimeout as sleep } from 'node:timers/promises';
import { smallRooms } from '../harness/homeserver.ts';
import type { Scenario, Size } from '../harness/scenario.ts';
import { percentile } from '../harness/statistics.ts';

const CONCURRENCY = 8;

/** How many clients, and in how many rounds at most. */
function sizes({ quick, synapse }: Size): (readonly [number, number])[] {
  if (quick) return [[20, 1]];
  if (synapse) return [[100, 3]];
  return [
    [100, 5],
    [1_000, 3],
    [5_000, 1],
  ];
}

export const idleClients: Scenario = {
  name: 'idle-clients',
  title: 'Starting many clients, and keeping them idle',
  how:
    'Each user is in 2 rooms of 10 with 20 messages. 8 clients start at a time. Memory is what the process has more ' +
    'than with one client, after a garbage collection, divided by the clients.',
  onSynapse: true,
  rounds: 5,
  measures: (size) =>
    sizes(size).flatMap(([clients]) => [
      {
        id: `rss-${clients}`,
        title: `RSS per client, ${clients} idle clients`,
        unit: 'KiB',
        reference: 'bare',
        chart: true,
      },
      { id: `heap-${clients}`, title: `Heap per client, ${clients} idle clients`, unit: 'KiB', reference: 'bare' },
      { id: `start-${clients}`, title: `Starting ${clients} clients`, unit: 'ms', reference: 'bare' },
      { id: `start-p50-${clients}`, title: `One start of ${clients}, p50`, unit: 'ms', reference: 'bare' },
      { id: `start-cpu-${clients}`, title: `CPU per start, ${clients} clients`, unit: 'ms', reference: 'bare' },
    ]),
  targets: (size) => {
    const [clients] = sizes(size).at(size.quick || size.synapse ? 0 : 1) ?? [0];
    const limits = [{ kind: 'ratio', over: 'bare', atMost: 0.6 }] as const;
    return [
      {
        text: 'RSS per idle client, small rooms, at most 0.6 x bare SDK',
        measure: `rss-${clients}`,
        of: 'ours',
        limits,
      },
    ];
  },
  run: async (stage, record) => {
    const { homeserver, options } = stage;
    for (const [clients, most] of sizes(options)) {
      const users = await homeserver.call('makeUsers', clients);
      await homeserver.call('makeRooms', smallRooms(users));
      await stage.rounds(
        ['ours', 'ours-undici', 'bare', 'raw'],
        async ({ name, process }) => {
          await stage.connectWarm(process);
          const before = await process.call('memory');
          await process.call('mark');
          const { eachMs, totalMs } = await process.call('start', { users, concurrency: CONCURRENCY });
          const { cpuMs } = await process.call('sinceMark');
          await sleep(options.quick ? 200 : 1_000); // requests end, and what they left behind
          const after = await process.call('memory');
          record(`rss-${clients}`, name, (after.rss - before.rss) / 1_024 / clients);
          record(`heap-${clients}`, name, (after.heap - before.heap) / 1_024 / clients);
          record(`start-${clients}`, name, totalMs);
          record(`start-p50-${clients}`, name, percentile(eachMs, 50));
          record(`start-cpu-${clients}`, name, cpuMs / clients);
        },
        Math.min(most, options.rounds),
      );
    }
  },
};
