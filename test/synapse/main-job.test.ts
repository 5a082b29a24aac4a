import { inject } from 'vitest';
import { undiciTransport } from '../../src/undici/index.js';
import { mainJob } from '../integration/main-job.js';

mainJob('Synapse', () => {
  const { baseUrl, admin } = inject('synapse');
  return { homeserverUrl: baseUrl, admin };
});

mainJob('Synapse, over undici and without sliding sync', () => {
  const { baseUrl, admin } = inject('synapse');
  return { homeserverUrl: baseUrl, admin, transport: undiciTransport(), slidingSync: false };
});
