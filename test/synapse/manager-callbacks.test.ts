import { inject } from 'vitest';
import { managerCallbacks } from '../integration/manager-callbacks.js';

managerCallbacks('Synapse', () => {
  const { baseUrl, admin } = inject('synapse');
  return { homeserverUrl: baseUrl, admin };
});
