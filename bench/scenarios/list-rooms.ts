import { setTimeout as sleep } from 'node:timers/promises';
import type { ContenderName } from '../contenders/contender.ts';
import type { User } from '../harness/homeserver.ts';
import type { Scenario, Size } from '../harness/scenario.ts';
import { percentile } from '../harness/statistics.ts';

/** What the library lists unless told otherwise. */
const PAGE = 50;

/** How many rooms the user is in, and how many messages in each nobody has read. */
function sizeOf({ quick, synapse }: Size): { readonly rooms: number; readonly messages: number } {
  return { rooms: quick ? 60 : 300, messages: synapse ? 5 : 20 };
}

/** How often each lists; the bare SDK starts a client for each list. */
function timesOf(name: ContenderName, { quick, synapse }: Size): number {
  if (quick) return 3;
  return name === 'bare' || synapse ? 5 : 20;
}

export const listRooms: Scenario = {
  name: 'list-rooms',
  title: 'The list of the rooms of a user',
  how:
    'Rooms of 3 with 20 messages each (5 on Synapse), which the user has not read: name, avatar, last message, number ' +
    'of members, and unread counts, newest activity first. The library lists without a client, by sliding sync where ' +
    'the homeserver has it, and with a live one; the raw loop makes one /sync that is filtered to what a list shows; the bare SDK ' +
    'starts a client, reads its rooms and stops it, or reads those of a live one. Live means that all rooms have come. The median of several lists.',
  onSynapse: true,
  rounds: 5,
  measures: (size) => {
    const { rooms } = sizeOf(size);
    const cold = { reference: 'raw' } as const;
    return [
      { ...cold, id: 'all', title: `${rooms} rooms, without a client`, unit: 'ms', chart: true },
      { ...cold, id: 'all-cpu', title: `CPU of ${rooms} rooms, without a client`, unit: 'ms' },
      { ...cold, id: 'page', title: `The first ${PAGE} of ${rooms}, without a client`, unit: 'ms', chart: true },
      { ...cold, id: 'page-cpu', title: `CPU of the first ${PAGE} of ${rooms}, without a client`, unit: 'ms' },
      { id: 'live', title: `${rooms} rooms, with a live client`, unit: 'ms', reference: 'bare' },
      { id: 'live-cpu', title: `CPU of ${rooms} rooms, with a live client`, unit: 'ms', reference: 'bare' },
    ];
  },
  run: async (stage, record) => {
    const { homeserver, about, options } = stage;
    const { rooms, messages } = sizeOf(options);
    const [sender, user, other] = (await homeserver.call('makeUsers', 3)) as [User, User, User];
    await homeserver.call(
      'makeRooms',
      Array.from({ length: rooms }, () => ({ members: [sender, user, other], messages })),
    );
    await stage.rounds(['ours', 'ours-plain', 'ours-undici', 'bare', 'raw'], async ({ name, process }) => {
      const list = async (measure: string, limit: number): Promise<void> => {
        const expected = { rooms: limit, unread: limit * messages };
        const times = timesOf(name, options);
        await process.call('listRooms', { user, limit, times: 2, expected }); // warms up
        await process.call('mark');
        const eachMs = await process.call('listRooms', { user, limit, times, expected });
        const { cpuMs } = await process.call('sinceMark');
        record(measure, name, percentile(eachMs, 50));
        record(`${measure}-cpu`, name, cpuMs / times);
      };
      await process.call('connect', about);
      await list('all', rooms);
      await list('page', PAGE);
      if (name !== 'ours' && name !== 'bare') return;
      await process.call('start', { users: [user], concurrency: 1 });
      await sleep(options.quick ? 1_000 : 4_000); // the rooms come that the start has not waited for
      await list('live', rooms);
    });
  },
};
