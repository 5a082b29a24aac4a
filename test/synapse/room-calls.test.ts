import { inject } from 'vitest';
import { roomCalls } from '../integration/room-calls.js';

roomCalls('Synapse', () => {
  const { baseUrl, admin } = inject('synapse');
  return { homeserverUrl: baseUrl, admin };
});
