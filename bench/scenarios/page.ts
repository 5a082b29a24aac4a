import type { User } from '../harness/homeserver.ts';
import type { Scenario } from '../harness/scenario.ts';
import { percentile } from '../harness/statistics.ts';

export const page: Scenario = {
  name: 'page',
  title: 'A page of 50 messages',
  how:
    'The newest 50 of a room that has 120. The library reads them from the timeline of a live client, and over REST for ' +
    'a user without one; the raw loop gets /messages and parses it. The median of many pages, one after the other.',
  onSynapse: true,
  rounds: 5,
  measures: () => [{ id: 'page', title: 'A page of 50', unit: 'us', reference: 'raw', chart: true }],
  targets: () => [
    {
      text: 'page of 50 from the timeline, at most 1/1,000 of REST on loopback, or 50 us',
      measure: 'page',
      of: 'ours',
      limits: [
        { kind: 'value', atMost: 50 },
        { kind: 'ratio', over: 'raw', atMost: 0.001 },
      ],
    },
  ],
  run: async (stage, record) => {
    const { homeserver, about, options } = stage;
    const [sender, user] = (await homeserver.call('makeUsers', 2)) as [User, User];
    await stage.rounds(['ours', 'ours-rest', 'raw'], async ({ name, process }) => {
      const [roomId = ''] = await homeserver.call('makeRooms', [{ members: [sender, user], messages: 20 }]);
      await process.call('connect', about);
      if (name === 'ours') await process.call('start', { users: [user], concurrency: 1 });
      for (let batch = 1; batch <= 5; batch++) {
        await homeserver.call('send', { roomId, sender, count: 20 });
        if (name === 'ours') await process.call('received', 20 * batch);
      }
      const times = (name === 'ours' ? 20_000 : 500) / (options.quick ? 10 : 1);
      await process.call('readPages', { user, roomId, times: Math.ceil(times / 5) }); // warms up
      const eachMs = await process.call('readPages', { user, roomId, times });
      record('page', name, percentile(eachMs, 50) * 1_000);
    });
  },
};
