import { inject } from 'vitest';
import { applicationRequests } from '../integration/application-requests.js';

applicationRequests('Synapse', () => {
  const { baseUrl, admin } = inject('synapse');
  return { homeserverUrl: baseUrl, admin };
});
