import { setTimeout as sleep } from 'node:timers/promises';
import type { User } from '../harness/homeserver.ts';
import { smallRooms } from '../harness/homeserver.ts';
import type { Measure, Record, Scenario, Size } from '../harness/scenario.ts';
import type { Stage, Turn } from '../harness/stage.ts';
import { percentile } from '../harness/statistics.ts';

const CONCURRENCY = 8;
const ROOM_SIZE = 5;

/** How many clients, and in how many rounds at most. */
function sizes({ quick }: Size): (readonly [number, number])[] {
  if (quick) return [[5, 1]];
  return [
    [100, 2],
    [300, 1],
  ];
}

function measuresOf(clients: number): Measure[] {
  const all = { reference: 'bare-encrypted' } as const;
  return [
    { ...all, id: `rss-${clients}`, title: `RSS per client, ${clients} clients`, unit: 'KiB', chart: true },
    { ...all, id: `heap-${clients}`, title: `Heap per client, ${clients} clients`, unit: 'KiB' },
    { ...all, id: `wasm-${clients}`, title: `WebAssembly memory per client, ${clients} clients`, unit: 'KiB' },
    { ...all, id: `start-${clients}`, title: `One first start of ${clients}, p50`, unit: 'ms' },
    { ...all, id: `start-cpu-${clients}`, title: `CPU per first start, ${clients} clients`, unit: 'ms' },
    { ...all, id: `session-cpu-${clients}`, title: `CPU per first message, ${clients} clients`, unit: 'ms' },
    { ...all, id: `message-cpu-${clients}`, title: `CPU per further message, ${clients} clients`, unit: 'ms' },
    { id: `resume-${clients}`, title: `One resumed start of ${clients}, p50`, unit: 'ms', reference: 'ours' },
    { id: `resume-cpu-${clients}`, title: `CPU per resumed start, ${clients} clients`, unit: 'ms', reference: 'ours' },
  ];
}

export const encryptedClients: Scenario = {
  name: 'encrypted-clients',
  title: 'Clients with end-to-end encryption',
  how:
    'Each user is in one encrypted room of 5 and sends two messages there, which the other four decrypt: the first one ' +
    'makes a session and shares its key, so in the end every device has five. Memory is then what the process has ' +
    'more than with one client, after a garbage collection, divided by the clients. The bare SDK keeps its keys in ' +
    'memory and cannot resume; the library has them on disk before it uses them. "ours" is the same without ' +
    'encryption, in rooms without it.',
  rounds: 2,
  measures: (size) => sizes(size).flatMap(([clients]) => measuresOf(clients)),
  run: async (stage, record) => {
    for (const [clients, most] of sizes(stage.options)) {
      await stage.rounds(
        ['ours-encrypted', 'ours', 'bare-encrypted'],
        (turn) => live(stage, turn, clients, record),
        Math.min(most, stage.options.rounds),
      );
    }
  },
};

/** New users and rooms for each turn: to a device that was here before, keys would be sent as well. */
async function live(stage: Stage, { name, process }: Turn, clients: number, record: Record): Promise<void> {
  const { homeserver, options } = stage;
  const quiet = (): Promise<void> => sleep(options.quick ? 200 : 1_000); // requests end, and what they left behind
  const users = await homeserver.call('makeUsers', clients);
  const plan = smallRooms(users, { size: ROOM_SIZE, roomsPerUser: 1, messages: 0 });
  const encrypted = name !== 'ours';
  const roomIds = await homeserver.call(
    'makeRooms',
    plan.map((room) => ({ ...room, encrypted })),
  );
  const messages = plan.flatMap(({ members }, index) =>
    members.map((sender: User) => ({ sender, roomId: roomIds[index] ?? '' })),
  );
  const start = async (): Promise<{ p50: number; cpuMs: number }> => {
    await process.call('mark');
    const { eachMs } = await process.call('start', { users, concurrency: CONCURRENCY });
    const { cpuMs } = await process.call('sinceMark');
    return { p50: percentile(eachMs, 50), cpuMs: cpuMs / clients };
  };
  const talk = async (): Promise<number> => {
    await process.call('mark');
    const all = process.call('received', messages.length * (ROOM_SIZE - 1));
    await process.call('sendEach', { messages, concurrency: CONCURRENCY });
    await all;
    return (await process.call('sinceMark')).cpuMs / messages.length;
  };

  await stage.connectWarm(process);
  const before = await process.call('memory');
  const first = await start();
  record(`start-${clients}`, name, first.p50);
  record(`start-cpu-${clients}`, name, first.cpuMs);
  await quiet();
  record(`session-cpu-${clients}`, name, await talk());
  await quiet();
  record(`message-cpu-${clients}`, name, await talk());
  await quiet();
  const after = await process.call('memory');
  for (const kind of ['rss', 'heap', 'wasm'] as const) {
    record(`${kind}-${clients}`, name, (after[kind] - before[kind]) / 1_024 / clients);
  }
  if (name === 'bare-encrypted') return;
  for (const { userId } of users) await process.call('sleep', userId);
  const resumed = await start();
  record(`resume-${clients}`, name, resumed.p50);
  record(`resume-cpu-${clients}`, name, resumed.cpuMs);
}
