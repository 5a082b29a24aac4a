import { inject } from 'vitest';
import { unreadLives } from '../integration/unread-lives.js';

const homeserver = () => {
  const { baseUrl, admin } = inject('synapse');
  return { homeserverUrl: baseUrl, admin };
};

unreadLives('Synapse', homeserver, Number(process.env.LIVES ?? 4));
