import { join } from 'node:path';
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { CheckpointChange } from '../../src/storage/checkpoint.js';
import { memoryStorage } from '../../src/storage/memory-storage.js';
import { sqliteStorage } from '../../src/storage/sqlite-storage.js';
import type { Storage } from '../../src/storage/storage.js';
import { temporaryFolder } from './temporary-folder.js';

const secret = new Uint8Array(32).fill(7);

/** One call on a storage, with a title for counterexamples. */
type Call = readonly [title: string, run: (storage: Storage) => Promise<unknown>];

const userId = fc.constantFrom('@a:x', '@b:x', '@caf\u00e9:x');
const roomId = fc.constantFrom('!a:x', '!b:x', '!c:x');
const id = fc.constantFrom('1', '2', '3', '4');
const text = fc.string({ unit: 'grapheme', maxLength: 20 });
const entry = fc.record({ roomId, eventId: id });
const change: fc.Arbitrary<CheckpointChange> = fc.record(
  {
    since: fc.option(text),
    accountData: fc.option(text),
    rooms: fc.array(fc.tuple(roomId, fc.option(text)), { maxLength: 3 }).map((rooms) => new Map(rooms)),
    lastDelivered: fc
      .array(fc.tuple(roomId, fc.option(fc.record({ eventId: text, token: text }, { requiredKeys: ['eventId'] }))))
      .map((positions) => new Map(positions)),
    journal: fc.record(
      { prune: fc.oneof(fc.constant('all' as const), fc.array(entry)), add: fc.array(entry) },
      { requiredKeys: [] },
    ),
  },
  { requiredKeys: [] },
);
const error = fc.record({ name: text, message: text, code: text }, { requiredKeys: ['name', 'message'] });

function call<T extends unknown[]>(
  name: string,
  args: fc.Arbitrary<T>,
  run: (storage: Storage, ...args: T) => Promise<unknown>,
) {
  return args.map((args): Call => [`${name}(${fc.stringify(args)})`, (storage) => run(storage, ...args)]);
}

const calls: fc.Arbitrary<Call> = fc.oneof(
  call('setCredentials', fc.tuple(userId, text), (storage, userId, accessToken) => {
    return storage.setCredentials({ userId, accessToken, deviceId: 'D' });
  }),
  call('getCredentials', fc.tuple(userId), (storage, userId) => storage.getCredentials(userId)),
  call('deleteCredentials', fc.tuple(userId), (storage, userId) => storage.deleteCredentials(userId)),
  call('loadCheckpoint', fc.tuple(userId), (storage, userId) => storage.loadCheckpoint(userId)),
  call('commit', fc.tuple(userId, change), (storage, userId, change) => storage.commit(userId, change)),
  call('addDeadLetter', fc.tuple(userId, id, text, error), (storage, userId, id, event, error) => {
    return storage.addDeadLetter(userId, { id, event, error, failedAt: 1, attempts: 3 });
  }),
  call('listDeadLetters', fc.tuple(userId, fc.nat(4)), (storage, userId, limit) =>
    storage.listDeadLetters(userId, { limit }),
  ),
  call('deleteDeadLetter', fc.tuple(userId, id), (storage, userId, id) => storage.deleteDeadLetter(userId, id)),
  call('enqueueSend', fc.tuple(userId, id, roomId, text), (storage, userId, txnId, roomId, content) => {
    return storage.enqueueSend(userId, { txnId, roomId, type: 't', content, enqueuedAt: 1 });
  }),
  call('listSends', fc.tuple(fc.constantFrom('queued', 'failed', 'sent')), (storage, state) =>
    storage.listSends({ state }),
  ),
  call('completeSend', fc.tuple(userId, id, text), (storage, userId, id, event) =>
    storage.completeSend(userId, id, event),
  ),
  call('failSend', fc.tuple(userId, id, error), (storage, userId, id, error) => storage.failSend(userId, id, error)),
  call('deleteSend', fc.tuple(userId, id), (storage, userId, id) => storage.deleteSend(userId, id)),
  call('setEncryptedRooms', fc.tuple(roomId, text), async (storage, roomId, text) => {
    return storage.setEncryptedRooms?.(new Map([[roomId, text]]));
  }),
  call('getEncryptedRooms', fc.tuple(fc.array(roomId)), async (storage, roomIds) =>
    storage.getEncryptedRooms?.(roomIds),
  ),
  call('addOnceEvents', fc.tuple(fc.array(id)), async (storage, keys) => storage.addOnceEvents?.(keys, 3)),
  call('findOnceEvents', fc.tuple(fc.array(id)), async (storage, keys) => storage.findOnceEvents?.(keys)),
  call('deleteUser', fc.tuple(userId), (storage, userId) => storage.deleteUser(userId)),
);

/** Calls made in one turn, none awaited before the next; then perhaps a close and an open. */
const step = fc.record({ calls: fc.array(calls, { minLength: 1, maxLength: 8 }), reopen: fc.boolean() });

describe('sqliteStorage', () => {
  it('does what memoryStorage does, whatever is called in whatever order, over any number of reopens', async () => {
    const folder = temporaryFolder();
    let files = 0;
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 12 }), async (steps) => {
        const path = join(folder, `${files++}`);
        const model = memoryStorage();
        let storage = sqliteStorage({ path, secret });
        for (const { calls, reopen } of steps) {
          const run = (on: Storage) => Promise.all(calls.map(([, run]) => run(on)));
          const results = run(storage);
          if (reopen) {
            await storage.close();
            storage = sqliteStorage({ path, secret });
          }
          expect(await results).toEqual(await run(model));
        }
        for (const userId of ['@a:x', '@b:x', '@caf\u00e9:x']) {
          expect(await storage.loadCheckpoint(userId)).toEqual(await model.loadCheckpoint(userId));
        }
        await storage.close();
      }),
      { numRuns: 60 },
    );
  });
});
