import { inject } from 'vitest';
import { personalData } from '../integration/personal-data.js';

personalData('Synapse', () => {
  const { baseUrl, admin } = inject('synapse');
  return { homeserverUrl: baseUrl, admin };
});
