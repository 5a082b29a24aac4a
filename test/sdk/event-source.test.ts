import { describe, expect, it } from 'vitest';
import { memoryStorage } from '../../src/storage/memory-storage.js';
import { eventSourceContract, ManualClock, MemoryEventLog } from '../../src/testing/index.js';
import { syncClientOf, userOnFake } from '../support/sync-client-on-fake.js';

describe('MemoryEventSource', () => {
  eventSourceContract({ describe, it, expect }, async () => {
    const clock = new ManualClock();
    const log = new MemoryEventLog();
    return {
      open: async (commits) => {
        const source = log.open(commits.at(-1)?.since ?? undefined);
        return { source, start: () => source.start(), stop: () => source.stop() };
      },
      say: (text) => log.say(text),
      advance: (ms) => clock.advance(ms),
      [Symbol.asyncDispose]: async () => {},
    };
  });
});

describe.each([true, false])('SyncClient, with a fast start: %s', (slidingSync) => {
  eventSourceContract({ describe, it, expect }, async () => {
    const user = userOnFake();
    const storage = memoryStorage();
    return {
      open: async (commits) => {
        for (const change of commits) await storage.commit(user.userId, change);
        const client = syncClientOf(user, await storage.loadCheckpoint(user.userId), { slidingSync });
        return {
          source: client,
          start: () => client.start(new AbortController().signal),
          stop: () => client.stop(),
        };
      },
      say: user.say,
      advance: (ms) => user.clock.advance(ms),
      [Symbol.asyncDispose]: () => user[Symbol.asyncDispose](),
    };
  });
});
