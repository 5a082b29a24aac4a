import { inject } from 'vitest';
import { mainJob } from '../integration/main-job.js';

mainJob('Synapse', () => {
  const { baseUrl, admin } = inject('synapse');
  return { homeserverUrl: baseUrl, admin };
});
