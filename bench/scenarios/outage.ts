import { setTimeout as sleep } from 'node:timers/promises';
import { smallRooms } from '../harness/homeserver.ts';
import type { Outage } from '../harness/outage.ts';
import { MAX_RECOVERY_MS } from '../harness/outage.ts';
import type { Scenario, Size } from '../harness/scenario.ts';
import { percentile } from '../harness/statistics.ts';

interface Case {
  readonly clients: number;
  readonly outage: Outage;
  readonly id: string;
}

function cases({ quick }: Size): readonly Case[] {
  const counts = quick ? [20] : [300, 1_000];
  const outages = quick ? (['503'] as const) : (['503', 'closed port'] as const);
  return counts.flatMap((clients) =>
    outages.map((outage) => ({ clients, outage, id: `${clients}-${outage.replace(' ', '-')}` })),
  );
}

export const outage: Scenario = {
  name: 'outage',
  title: 'The homeserver is down for a minute',
  how:
    'All clients sync, then the homeserver answers 503 to everything, or its port is closed, for 60 seconds (2 in the ' +
    'quick form). Requests per second without the first; then the time until everybody has synced again, ' +
    'which is 120,000 ms where somebody had not by then.',
  rounds: 1,
  measures: (size) =>
    cases(size).flatMap(({ clients, outage: how, id }) => {
      const what = `${clients} clients, ${how}`;
      return [
        {
          id: `requests-${id}`,
          title: `Requests while down, ${what}`,
          unit: 'per second',
          reference: 'bare',
          chart: true,
        },
        { id: `back-p50-${id}`, title: `Half are back, ${what}`, unit: 'ms', reference: 'bare' },
        { id: `back-p100-${id}`, title: `All are back, ${what}`, unit: 'ms', reference: 'bare' },
        { id: `cpu-${id}`, title: `CPU while down, ${what}`, unit: 'ms', reference: 'bare' },
      ] as const;
    }),
  run: async (stage, record) => {
    const seconds = stage.options.quick ? 2 : 60;
    const { homeserver, about } = stage;
    for (const { clients, outage: how, id } of cases(stage.options)) {
      await stage.rounds(['ours', 'bare'], async ({ name, process }) => {
        const users = await homeserver.call('makeUsers', clients);
        await homeserver.call('makeRooms', smallRooms(users, { roomsPerUser: 1 }));
        await process.call('countRequests');
        await process.call('connect', about);
        await process.call('start', { users, concurrency: 8 });
        await sleep(stage.options.quick ? 500 : 3_000);
        await process.call('mark');
        await homeserver.call('fail', how);
        await sleep(seconds * 1_000);
        const { cpuMs, requestsPerSecond } = await process.call('sinceMark');
        const { perSecond, backAfterMs } = await homeserver.call('recover', clients);
        // A closed port counts nothing: what the clients tried has to do.
        const [, ...later] = how === '503' ? perSecond : requestsPerSecond;
        record(`requests-${id}`, name, later.reduce((sum, count) => sum + count, 0) / later.length);
        record(`back-p50-${id}`, name, percentile(backAfterMs, 50));
        record(`back-p100-${id}`, name, backAfterMs.length === clients ? Math.max(...backAfterMs) : MAX_RECOVERY_MS);
        record(`cpu-${id}`, name, cpuMs);
      });
    }
  },
};
