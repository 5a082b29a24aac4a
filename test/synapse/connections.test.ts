import { inject } from 'vitest';
import { connections } from '../integration/connections.js';

connections('Synapse', () => {
  const { baseUrl, admin } = inject('synapse');
  return { homeserverUrl: baseUrl, admin };
});
