import { setTimeout as sleep } from 'node:timers/promises';
import type { User } from '../harness/homeserver.ts';
import type { Scenario } from '../harness/scenario.ts';
import { percentile } from '../harness/statistics.ts';
import type { Stage, Turn } from '../harness/stage.ts';

const CONTENDERS = ['ours', 'ours-undici', 'ours-sqlite', 'bare', 'raw'] as const;

/** A room with listeners, whose clients run in the turn's process, and somebody who talks to them. */
async function room(stage: Stage, { process }: Turn, listeners: number): Promise<{ roomId: string; sender: User }> {
  const { homeserver, about } = stage;
  const [sender, ...users] = (await homeserver.call('makeUsers', listeners + 1)) as [User, ...User[]];
  const [roomId = ''] = await homeserver.call('makeRooms', [{ members: [sender, ...users], messages: 20 }]);
  await process.call('connect', about);
  await process.call('start', { users, concurrency: 8 });
  return { roomId, sender };
}

export const cpuPerEvent: Scenario = {
  name: 'cpu-per-event',
  title: 'What a delivered event costs',
  how:
    '20 users in one room, each with a client; the next message is sent when all of them wait for it, so every ' +
    'event comes by a sync of its own. CPU of the process, all threads, by events delivered. Latency is from the ' +
    'sending to the callback, with 20 clients busy in one process.',
  onSynapse: true,
  rounds: 7,
  measures: () => [
    { id: 'cpu', title: 'CPU per delivered event', unit: 'us', reference: 'bare', chart: true },
    { id: 'busy-p50', title: 'Latency to 20 clients of one process, p50', unit: 'ms', reference: 'raw' },
    { id: 'busy-p99', title: 'Latency to 20 clients of one process, p99', unit: 'ms', reference: 'raw' },
  ],
  targets: () => [
    {
      text: 'CPU per delivered event, with /undici, at most 0.5 x bare SDK',
      measure: 'cpu',
      of: 'ours-undici',
      limits: [{ kind: 'ratio', over: 'bare', atMost: 0.5 }],
    },
  ],
  run: async (stage, record) => {
    const { quick, synapse } = stage.options;
    const listeners = 20;
    const warmUp = quick ? 10 : 50;
    const messages = quick ? 20 : synapse ? 100 : 250;
    await stage.rounds(CONTENDERS, async (turn) => {
      const { name, process } = turn;
      const { roomId, sender } = await room(stage, turn, listeners);
      const talk = async (count: number): Promise<void> => {
        await process.call('mark');
        const all = process.call('received', count * listeners);
        await stage.homeserver.call('talk', { roomId, sender, count, burst: 1, listeners });
        await all;
      };
      await talk(warmUp);
      await talk(messages);
      const { cpuMs, received, latenciesMs } = await process.call('sinceMark');
      record('cpu', name, (cpuMs * 1_000) / received);
      record('busy-p50', name, percentile(latenciesMs, 50));
      record('busy-p99', name, percentile(latenciesMs, 99));
    });
  },
};

export const latency: Scenario = {
  name: 'latency',
  title: 'Delivery latency',
  how:
    'One user in one room, a message every 20 ms; the time from its sending to the callback, clocks being those of ' +
    'one machine. What a contender adds is its latency less that of the raw loop in the same round.',
  onSynapse: true,
  rounds: 7,
  measures: () => [
    { id: 'p50', title: 'Latency, p50', unit: 'ms', reference: 'raw', chart: true },
    { id: 'p99', title: 'Latency, p99', unit: 'ms', reference: 'raw' },
  ],
  targets: () => [
    {
      text: 'latency added over a raw /sync loop, p50, at most 2 ms',
      measure: 'p50',
      of: 'ours',
      limits: [{ kind: 'difference', over: 'raw', atMost: 2 }],
    },
  ],
  run: async (stage, record) => {
    const { quick } = stage.options;
    const contenders = quick ? (['ours', 'bare', 'raw'] as const) : CONTENDERS;
    await stage.rounds(contenders, async (turn) => {
      const { name, process } = turn;
      const { roomId, sender } = await room(stage, turn, 1);
      const talk = async (count: number): Promise<void> => {
        await process.call('mark');
        for (let sent = 0; sent < count; sent++) {
          await stage.homeserver.call('send', { roomId, sender, count: 1 });
          await sleep(20);
        }
        await process.call('received', count);
      };
      await talk(quick ? 20 : 50);
      await talk(quick ? 30 : 200);
      const { latenciesMs } = await process.call('sinceMark');
      record('p50', name, percentile(latenciesMs, 50));
      record('p99', name, percentile(latenciesMs, 99));
    });
  },
};
