import { inject } from 'vitest';
import { unreadRooms } from '../integration/unread.js';

unreadRooms('Synapse', () => {
  const { baseUrl, admin } = inject('synapse');
  return { homeserverUrl: baseUrl, admin };
});
