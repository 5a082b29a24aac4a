import type { NewRoom, User } from '../harness/homeserver.ts';
import type { Scenario, Size } from '../harness/scenario.ts';
import type { Stage } from '../harness/stage.ts';

/** A user of many rooms, each with two others and some messages: fewer on Synapse, which takes long to make them. */
async function userOfRooms(
  { homeserver, options }: Stage,
  count: number,
): Promise<{ user: User; rooms: readonly NewRoom[] }> {
  const [user, ...others] = (await homeserver.call('makeUsers', 3)) as [User, User, User];
  const rooms = Array.from({ length: count }, () => ({
    members: [user, ...others],
    messages: options.synapse ? 5 : 20,
  }));
  return { user, rooms };
}

function coldSizes({ quick }: Size): readonly number[] {
  return quick ? [50] : [300, 1_000];
}

export const coldStart: Scenario = {
  name: 'cold-start',
  title: 'The first start of a user in many rooms',
  how:
    'A user on a new device, in rooms of 3 with 20 messages each (5 on Synapse), until the client is live, in a process that has had ' +
    'another client before. With sliding sync the library is live with the rooms that matter first, and the others ' +
    'come while it lives: their CPU and memory are not all in yet. The sliding bare SDK asks ' +
    'for a window of 20 rooms.',
  onSynapse: true,
  rounds: 5,
  measures: (size) =>
    coldSizes(size).flatMap((rooms) => [
      { id: `time-${rooms}`, title: `Cold start in ${rooms} rooms`, unit: 'ms', reference: 'bare', chart: true },
      { id: `cpu-${rooms}`, title: `CPU of a cold start in ${rooms} rooms`, unit: 'ms', reference: 'bare' },
      { id: `rss-${rooms}`, title: `RSS of a cold start in ${rooms} rooms`, unit: 'MiB', reference: 'bare' },
    ]),
  targets: (size) => {
    const [rooms] = coldSizes(size);
    return [
      {
        text: `cold start in ${rooms} rooms, at most 0.1 x bare SDK's plain sync${size.synapse ? '' : ' (meant for a real Synapse)'}`,
        measure: `time-${rooms}`,
        of: 'ours',
        limits: [{ kind: 'ratio', over: 'bare', atMost: 0.1 }],
      },
    ];
  },
  run: async (stage, record) => {
    const { homeserver, options } = stage;
    for (const count of coldSizes(options)) {
      const { user, rooms } = await userOfRooms(stage, count);
      await homeserver.call('makeRooms', rooms);
      await stage.rounds(['ours', 'ours-plain', 'bare', 'bare-sliding', 'raw'], async ({ name, process }) => {
        const users = [await homeserver.call('newDevice', user)];
        await stage.connectWarm(process);
        const before = await process.call('memory');
        await process.call('mark');
        const { totalMs } = await process.call('start', { users, concurrency: 1 });
        const { cpuMs } = await process.call('sinceMark');
        const after = await process.call('memory');
        record(`time-${count}`, name, totalMs);
        record(`cpu-${count}`, name, cpuMs);
        record(`rss-${count}`, name, (after.rss - before.rss) / 2 ** 20);
      });
    }
  },
};

export const wake: Scenario = {
  name: 'wake',
  title: 'A user in 300 rooms comes back',
  how:
    'After a cold start, a stop, and 3 messages in one room meanwhile: the time until the client is live again. The ' +
    'bare SDK keeps nothing in Node, so it starts anew.',
  onSynapse: true,
  rounds: 5,
  measures: () => [
    { id: 'cold', title: 'Cold start', unit: 'ms', reference: 'bare' },
    { id: 'wake', title: 'Wake after sleep', unit: 'ms', reference: 'bare', chart: true },
    { id: 'wake-cpu', title: 'CPU of a wake', unit: 'ms', reference: 'bare' },
  ],
  targets: ({ quick }) => [
    {
      text: `wake after sleep, ${quick ? 50 : 300} rooms, at most 0.25 x cold start`,
      measure: 'wake',
      of: 'ours',
      limits: [{ kind: 'ratio', over: 'ours', overMeasure: 'cold', atMost: 0.25 }],
    },
  ],
  run: async (stage, record) => {
    const { homeserver, options } = stage;
    const { user, rooms } = await userOfRooms(stage, options.quick ? 50 : 300);
    const [roomId = ''] = await homeserver.call('makeRooms', rooms);
    await stage.rounds(['ours', 'ours-plain', 'bare'], async ({ name, process }) => {
      const users = [await homeserver.call('newDevice', user)];
      await stage.connectWarm(process);
      const cold = await process.call('start', { users, concurrency: 1 });
      await process.call('sleep', user.userId);
      await homeserver.call('send', { roomId, sender: user, count: 3 });
      await process.call('mark');
      const woken = await process.call('start', { users, concurrency: 1 });
      const { cpuMs } = await process.call('sinceMark');
      record('cold', name, cold.totalMs);
      record('wake', name, woken.totalMs);
      record('wake-cpu', name, cpuMs);
    });
  },
};
