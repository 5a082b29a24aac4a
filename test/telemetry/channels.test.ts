import { hasSubscribers, subscribe, unsubscribe } from 'node:diagnostics_channel';
import { afterEach, describe, expect, it } from 'vitest';
import { diagnosticsChannels } from '../../src/index.js';
import type { DiagnosticsChannelName, DiagnosticsMessages } from '../../src/index.js';
import { allTextOf } from '../support/all-text-of.js';
import { eventfulLife } from './eventful-life.js';
import { WatchedManager } from './watched-manager.js';

const undo: (() => void)[] = [];
afterEach(() => undo.splice(0).forEach((one) => one()));

function listen<Name extends DiagnosticsChannelName>(name: Name): DiagnosticsMessages[Name][] {
  const messages: DiagnosticsMessages[Name][] = [];
  const take = (message: unknown): void => void messages.push(message as DiagnosticsMessages[Name]);
  subscribe(name, take);
  undo.push(() => unsubscribe(name, take));
  return messages;
}

describe('the diagnostics channels', () => {
  it('tell of each phase, with the ids and without secrets', async () => {
    const watch = new WatchedManager({ gapFillLimit: 100, callbackAttempts: 2 });
    const all = new Map(diagnosticsChannels.map((name) => [name, listen(name)]));
    const starts = listen('matrix-client-manager:client.start');
    const requests = listen('matrix-client-manager:request');
    const callbacks = listen('matrix-client-manager:callback');
    const gaps = listen('matrix-client-manager:gap');
    const sends = listen('matrix-client-manager:send');
    const { ids } = await eventfulLife(watch);
    const stats = watch.manager.stats();
    await watch.close();

    expect([...all].filter(([, messages]) => messages.length === 0)).toEqual([]);
    const userId = '@alice:hs.test';
    expect(starts).toMatchObject([
      { userId, outcome: 'live', resumed: false },
      { userId, outcome: 'live', resumed: true },
      { userId: '@nobody:hs.test', outcome: 'failed', errorCode: 'CLIENT_NOT_STARTED' },
    ]);
    expect(all.get('matrix-client-manager:client.stop')).toEqual([
      { userId, reason: 'requested' },
      { userId, reason: 'shutdown' },
    ]);
    expect(requests.length).toBeGreaterThanOrEqual(stats.requests.count);
    expect(requests.find(({ path }) => path.includes('/send/'))).toMatchObject({ method: 'PUT', status: 503 });
    expect(callbacks.filter(({ outcome }) => outcome === 'failed')).toMatchObject([
      { userId, type: 'message', attempt: 1, eventId: expect.stringMatching(/^\$/) },
      { userId, type: 'message', attempt: 2 },
    ]);
    expect(gaps).toMatchObject([
      { userId, events: 28, complete: true },
      { userId, events: 100, complete: false },
    ]);
    expect(sends).toMatchObject([
      { outcome: 'sent' },
      { outcome: 'sent' },
      { outcome: 'failed', errorCode: 'FORBIDDEN' },
    ]);
    const text = allTextOf([...all]);
    for (const token of ids.filter((id) => id.startsWith('syt_'))) expect(text).not.toContain(token);
    expect(text).not.toMatch(/syt_|poison|hello/);
  });

  it('have subscribers of the application only', async () => {
    const watch = new WatchedManager();
    await eventfulLife(watch);
    expect(diagnosticsChannels.filter((name) => hasSubscribers(name))).toEqual([]);
    await watch.close();
    expect(diagnosticsChannels.filter((name) => hasSubscribers(name))).toEqual([]);
  });
});
