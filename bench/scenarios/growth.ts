import type { User } from '../harness/homeserver.ts';
import type { Scenario, Size } from '../harness/scenario.ts';
import type { Stage } from '../harness/stage.ts';
import type { ContenderName } from '../contenders/contender.ts';
import type { Record } from '../harness/scenario.ts';

/** Sent at once: fewer than a sync may bring, so that nothing has to be fetched afterwards. */
const BURST = 40;

interface Run {
  readonly events: number;
  /** How many events at the beginning and at the end are compared. */
  readonly block: number;
  readonly contenders: readonly ContenderName[];
  readonly rounds: number;
}

function runs({ quick }: Size): readonly Run[] {
  if (quick) return [{ events: 2_000, block: 400, contenders: ['ours', 'bare'], rounds: 1 }];
  return [
    { events: 20_000, block: 4_000, contenders: ['ours', 'bare'], rounds: 3 },
    // At 100,000 events the bare SDK would take longer than anybody waits.
    { events: 100_000, block: 4_000, contenders: ['ours'], rounds: 1 },
  ];
}

export const growth: Scenario = {
  name: 'growth',
  title: 'An event after many others in its room',
  how:
    'One user in one room, events in bursts of 40: CPU per event over the first 4,000 and over the last 4,000, and ' +
    'what the heap has grown by. The bare SDK is spared the 100,000.',
  rounds: 3,
  measures: (size) =>
    runs(size).flatMap(({ events, block }) => [
      { id: `first-${events}`, title: `CPU per event, first ${block} of ${events}`, unit: 'us', reference: 'bare' },
      {
        id: `last-${events}`,
        title: `CPU per event, last ${block} of ${events}`,
        unit: 'us',
        reference: 'bare',
        chart: events === 20_000,
      },
      { id: `heap-${events}`, title: `Heap grown by, after ${events}`, unit: 'MiB', reference: 'bare' },
    ]),
  targets: (size) => {
    const { events } = runs(size).at(-1) as Run;
    return [
      {
        text: `per-event cost at ${events.toLocaleString('en')} events in a room, at most 1.2 x that over the first`,
        measure: `last-${events}`,
        of: 'ours',
        limits: [{ kind: 'ratio', over: 'ours', overMeasure: `first-${events}`, atMost: 1.2 }],
      },
    ];
  },
  run: async (stage, record) => {
    for (const run of runs(stage.options)) await growRoom(stage, run, record);
  },
};

async function growRoom(stage: Stage, run: Run, record: Record): Promise<void> {
  const { homeserver, about, options } = stage;
  const { events, block, contenders } = run;
  const rounds = Math.min(run.rounds, options.rounds);
  const turn = async ({ name, process }: Parameters<Parameters<Stage['rounds']>[1]>[0]): Promise<void> => {
    const [sender, user] = (await homeserver.call('makeUsers', 2)) as [User, User];
    const [roomId = ''] = await homeserver.call('makeRooms', [{ members: [sender, user], messages: 20 }]);
    await process.call('connect', about);
    await process.call('start', { users: [user], concurrency: 1 });
    const before = await process.call('memory');
    for (let done = 0; done < events; done += block) {
      await process.call('mark');
      const all = process.call('received', block);
      await homeserver.call('talk', { roomId, sender, count: block, burst: BURST, listeners: 1 });
      await all;
      const { cpuMs } = await process.call('sinceMark');
      if (done === 0) record(`first-${events}`, name, (cpuMs * 1_000) / block);
      if (done + block === events) record(`last-${events}`, name, (cpuMs * 1_000) / block);
    }
    const after = await process.call('memory');
    record(`heap-${events}`, name, (after.heap - before.heap) / 2 ** 20);
  };
  await stage.rounds(contenders, turn, rounds);
}
