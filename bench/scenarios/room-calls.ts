import type { User } from '../harness/homeserver.ts';
import type { Scenario, Size } from '../harness/scenario.ts';

const CONCURRENCY = 8;
const CREATORS = 10;

/** How many rooms are made, and how many users are brought into one. */
function sizeOf({ quick, synapse }: Size): { readonly rooms: number; readonly members: number } {
  if (quick) return { rooms: 50, members: 50 };
  return synapse ? { rooms: 100, members: 100 } : { rooms: 500, members: 1_000 };
}

export const roomCalls: Scenario = {
  name: 'room-calls',
  title: 'Making rooms, and bringing users into them',
  how:
    `Rooms of ${CREATORS} users, ${CONCURRENCY} asked for at a time; then one room into which one call brings many ` +
    `users, by an invitation and a join for each. No client is started. The others read the members first and leave ` +
    `out who is there, as the library does; ${CONCURRENCY} users join at a time. The library sends one invitation at a ` +
    'time, since homeservers limit them; on ours no limits are on. Then the same once more, with everybody there.',
  onSynapse: true,
  rounds: 5,
  measures: (size) => {
    const { members } = sizeOf(size);
    return [
      { id: 'create-rate', title: 'Rooms made', unit: 'per second', reference: 'raw', chart: true },
      { id: 'create-cpu', title: 'CPU per room', unit: 'us', reference: 'raw' },
      { id: 'ensure', title: `Bringing ${members} users into a room`, unit: 'ms', reference: 'raw', chart: true },
      { id: 'ensure-cpu', title: 'CPU per user brought in', unit: 'us', reference: 'raw' },
      { id: 'again', title: `The same, with ${members} there`, unit: 'ms', reference: 'raw' },
    ];
  },
  run: async (stage, record) => {
    const { homeserver, about, options } = stage;
    const { rooms, members } = sizeOf(options);
    const users = await homeserver.call('makeUsers', members);
    const creators = await homeserver.call('makeUsers', CREATORS);
    const [by] = creators as [User];
    await stage.rounds(['ours', 'ours-undici', 'bare', 'raw'], async ({ name, process }) => {
      const alone = { members: [by], messages: 0 };
      const [warm = '', roomId = ''] = await homeserver.call('makeRooms', [alone, alone]);
      await process.call('connect', about);
      const create = { users: creators, concurrency: CONCURRENCY };
      await process.call('createRooms', { ...create, count: Math.ceil(rooms / 5) }); // warms up
      await process.call('mark');
      const { totalMs } = await process.call('createRooms', { ...create, count: rooms });
      const { cpuMs } = await process.call('sinceMark');
      record('create-rate', name, (rooms * 1_000) / totalMs);
      record('create-cpu', name, (cpuMs * 1_000) / rooms);
      await process.call('ensureMembers', { by, roomId: warm, users: users.slice(0, Math.ceil(members / 5)) });
      await process.call('mark');
      record('ensure', name, await process.call('ensureMembers', { by, roomId, users }));
      const ensured = await process.call('sinceMark');
      record('ensure-cpu', name, (ensured.cpuMs * 1_000) / members);
      record('again', name, await process.call('ensureMembers', { by, roomId, users }));
    });
  },
};
