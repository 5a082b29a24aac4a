import { afterAll, beforeAll, inject } from 'vitest';
import { startSynapse } from '../../scripts/synapse/start-synapse.js';
import type { RunningSynapse } from '../../scripts/synapse/start-synapse.js';
import { presenceEvents } from '../integration/presence.js';

// On a Synapse of its own: with presence, others' long polls would end earlier than their tests expect. One that runs
// elsewhere keeps its configuration, and needs presence.
let own: RunningSynapse | undefined;
beforeAll(async () => {
  const isExternal = process.env['SYNAPSE_URL'] !== undefined;
  if (!isExternal) own = await startSynapse({ extraConfig: { presence: { enabled: true } } });
});
afterAll(() => own?.stop());

presenceEvents('Synapse', () => {
  const { baseUrl, admin } = own ?? inject('synapse');
  return { homeserverUrl: baseUrl, admin };
});
