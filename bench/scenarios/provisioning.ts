import type { Scenario } from '../harness/scenario.ts';

/** The library's default `adminConcurrency`, and what the raw loop gets too. */
const CONCURRENCY = 4;

export const provisioning: Scenario = {
  name: 'provisioning',
  title: 'Provisioning accounts',
  how:
    'New users, all asked for at once. The library makes two requests for each, 4 under way at a time; the raw loop ' +
    'makes the same two, 4 at a time.',
  onSynapse: true,
  rounds: 7,
  measures: () => [
    { id: 'rate', title: 'Users provisioned', unit: 'per second', reference: 'raw', chart: true },
    { id: 'cpu', title: 'CPU per user', unit: 'us', reference: 'raw' },
  ],
  targets: () => [
    {
      text: 'provisioning throughput at least 0.9 x a raw loop',
      measure: 'rate',
      of: 'ours',
      limits: [{ kind: 'ratio', over: 'raw', atLeast: 0.9 }],
    },
  ],
  run: async (stage, record) => {
    const { quick, synapse } = stage.options;
    const users = quick ? 100 : synapse ? 200 : 1_000;
    let names = 0;
    const next = (count: number): string[] =>
      Array.from({ length: count }, () => `p${Date.now().toString(36)}-${names++}`);
    await stage.rounds(['ours', 'ours-undici', 'raw'], async ({ name, process }) => {
      await process.call('connect', stage.about);
      const concurrency = name === 'raw' ? CONCURRENCY : users;
      await process.call('provision', { usernames: next(Math.ceil(users / 5)), concurrency }); // warms up
      await process.call('mark');
      const { totalMs } = await process.call('provision', { usernames: next(users), concurrency });
      const { cpuMs } = await process.call('sinceMark');
      record('rate', name, (users * 1_000) / totalMs);
      record('cpu', name, (cpuMs * 1_000) / users);
    });
  },
};
