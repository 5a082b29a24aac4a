import { Child } from '../harness/child.ts';
import type { Scenario } from '../harness/scenario.ts';
import { percentile } from '../harness/statistics.ts';
import type { SweepServices } from '../processes/sweep.ts';

const USERS = 100_000;

export const sweep: Scenario = {
  name: 'sweep',
  title: 'Looking for idle clients among 100,000',
  how:
    "The library's registry with 100,000 clients that are stand-ins, all active within the last eight minutes: what one " +
    'look for idle ones takes. Beside it a loop over a Map of 100,000. The median of many looks.',
  rounds: 3,
  measures: () => [{ id: 'sweep', title: 'One sweep, nothing to do', unit: 'us', reference: 'everybody' }],
  targets: () => [
    {
      text: 'sweep with nothing to do, 100,000 users, at most 50 us',
      measure: 'sweep',
      of: 'ours',
      limits: [{ kind: 'value', atMost: 50 }],
    },
  ],
  run: async ({ options }, record) => {
    for (let round = 0; round < options.rounds; round++) {
      for (const name of ['ours', 'everybody'] as const) {
        await using process = new Child<SweepServices>('processes/sweep.ts');
        const took = await process.call('sweep', { users: USERS, name, times: 100 });
        record('sweep', name, percentile(took, 50));
      }
    }
  },
};
