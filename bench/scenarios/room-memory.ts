import { setTimeout as sleep } from 'node:timers/promises';
import type { NewRoom, User } from '../harness/homeserver.ts';
import { smallRooms } from '../harness/homeserver.ts';
import type { Record, Scenario, Size } from '../harness/scenario.ts';
import type { Stage, Turn } from '../harness/stage.ts';

const CONCURRENCY = 8;

/** How many users call without a client, and how many have one. */
function sizeOf({ quick, synapse }: Size): { readonly without: number; readonly live: number } {
  if (quick) return { without: 20, live: 20 };
  return synapse ? { without: 100, live: 50 } : { without: 1_000, live: 300 };
}

export const roomMemory: Scenario = {
  name: 'room-memory',
  title: 'Memory of users who use the calls for rooms',
  how:
    'Each user is in 2 rooms of 10 with 20 messages, makes a room, sends a message to it, reads the members and a page ' +
    'of a room of 10, and lists their rooms; without a client, or with one that is live. "ours, no such calls" are the ' +
    'same users without these calls: the homeserver itself gives them as many rooms and messages. Memory is what the ' +
    `process has more than with ${CONCURRENCY} such users, after a garbage collection, divided by the users. The bare SDK keeps a ` +
    'client that is not started for each user who calls.',
  onSynapse: true,
  rounds: 3,
  measures: (size) => {
    const { without, live } = sizeOf(size);
    const calls = { unit: 'KiB', reference: '' } as const; // ratios of what is nearly nothing mean nothing
    const clients = { unit: 'KiB', reference: 'ours-untouched' } as const;
    return [
      { ...calls, id: 'heap', title: `Heap per user, ${without} users without a client` },
      { ...calls, id: 'rss', title: `RSS per user, ${without} users without a client` },
      { ...clients, id: 'live-heap', title: `Heap per client, ${live} live clients`, chart: true },
      { ...clients, id: 'live-rss', title: `RSS per client, ${live} live clients` },
    ];
  },
  targets: () => [
    {
      text: 'heap per live client that uses the calls for rooms, at most 1.1 x one that does not',
      measure: 'live-heap',
      of: 'ours',
      limits: [{ kind: 'ratio', over: 'ours-untouched', atMost: 1.1 }],
    },
  ],
  run: async (stage, record) => {
    const { without, live } = sizeOf(stage.options);
    await stage.rounds(['ours', 'ours-undici', 'ours-untouched', 'bare', 'raw'], (turn) =>
      measure(stage, turn, { users: without, isLive: false }, record),
    );
    await stage.rounds(['ours', 'ours-untouched', 'bare'], (turn) =>
      measure(stage, turn, { users: live, isLive: true }, record),
    );
  },
};

/** New users and rooms for each turn, since a turn leaves rooms behind. */
async function measure(
  stage: Stage,
  { name, process }: Turn,
  { users: count, isLive }: { readonly users: number; readonly isLive: boolean },
  record: Record,
): Promise<void> {
  const { homeserver, options } = stage;
  const users = await homeserver.call('makeUsers', count);
  const rooms = smallRooms(users);
  const roomIds = await homeserver.call('makeRooms', rooms);
  const callers = users.map((user) => ({ user, roomId: roomIds[indexOfRoom(rooms, user)] ?? '' }));
  const call = async (who: typeof callers): Promise<void> => {
    if (name !== 'ours-untouched') {
      await process.call('useRooms', { users: who, concurrency: CONCURRENCY });
    } else if (isLive) {
      await homeserver.call(
        'makeRooms',
        who.map(({ user }) => ({ members: [user], messages: 1 })),
      );
    }
  };

  if (isLive) await stage.connectWarm(process);
  else await process.call('connect', stage.about);
  const others = callers.slice(CONCURRENCY);
  if (isLive) await process.call('start', { users: users.slice(0, CONCURRENCY), concurrency: CONCURRENCY });
  await call(callers.slice(0, CONCURRENCY)); // warms up, and opens the connections
  const before = await process.call('memory');
  if (isLive) await process.call('start', { users: users.slice(CONCURRENCY), concurrency: CONCURRENCY });
  await call(others);
  await sleep(options.quick ? 200 : 1_000); // requests end, and what they left behind
  const after = await process.call('memory');
  const prefix = isLive ? 'live-' : '';
  for (const kind of ['heap', 'rss'] as const) {
    record(prefix + kind, name, (after[kind] - before[kind]) / 1_024 / others.length);
  }
}

function indexOfRoom(rooms: readonly NewRoom[], { userId }: User): number {
  return rooms.findIndex(({ members }) => members.some((member) => member.userId === userId));
}
