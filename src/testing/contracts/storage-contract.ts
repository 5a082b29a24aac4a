import type { Credentials } from '../../core/credentials.js';
import type { StoredCheckpoint } from '../../storage/checkpoint.js';
import type { StoredDeadLetter, OutgoingSend, Storage } from '../../storage/storage.js';
import { storageLimits } from '../../storage/storage.js';

/** The functions of a test runner that the suite needs. Pass those of Vitest or Jest. */
export interface ContractApi {
  readonly describe: (name: string, body: () => void) => void;
  readonly it: (name: string, body: () => Promise<void>) => void;
  readonly expect: (actual: unknown) => {
    toBe(expected: unknown): void;
    toEqual(expected: unknown): void;
    rejects: { toMatchObject(expected: object): Promise<void> };
  };
}

/** An empty storage under test. */
export interface OpenedStorage {
  readonly storage: Storage;
  /** Closes the storage and opens another one on the same data. Leave it out if a close discards the data. */
  readonly reopen?: () => Promise<Storage>;
  /** Whether the storage can still be used after `close()`, as `memoryStorage()` can. */
  readonly staysOpen?: boolean;
}

const alice = '@alice:example.org';
const bob = '@bob:example.org';
const aliceCredentials: Credentials = { userId: alice, accessToken: 'token-of-alice', deviceId: 'DEVICEA' };
const emptyCheckpoint: StoredCheckpoint = { rooms: new Map(), lastDelivered: new Map(), journal: [] };

function send(txnId: string, roomId = '!room:example.org'): OutgoingSend {
  return { txnId, roomId, type: 'm.room.message', content: `{"body":"${txnId}"}`, enqueuedAt: 1_700_000_000_000 };
}

function letter(id: string, attempts = 3): StoredDeadLetter {
  const error = { name: 'Error', message: 'the callback threw', code: 'E_CALLBACK' };
  return { id, event: `{"event_id":"${id}"}`, error, failedAt: 1_700_000_000_000, attempts };
}

/**
 * Defines the tests that every `Storage` has to pass. A persistent storage is closed and opened again before a test
 * checks the stored data. This file is long because authors of a storage read the whole contract in one place.
 * @param open - opens an empty storage; called once per test
 */
export function storageContract({ describe, it, expect }: ContractApi, open: () => Promise<OpenedStorage>): void {
  /** `look` returns the storage to check, closed and reopened if that is possible. */
  function check(
    title: string,
    body: (storage: Storage, look: () => Promise<Storage>) => Promise<void>,
    { ofClosed = false } = {},
  ): void {
    it(title, async () => {
      const opened = await open();
      if (ofClosed && opened.staysOpen) return;
      let { storage } = opened;
      try {
        await body(storage, async () => {
          if (opened.reopen) storage = await opened.reopen();
          return storage;
        });
      } finally {
        await storage.close();
      }
    });
  }

  describe('credentials', () => {
    check('returns what was set last', async (storage, look) => {
      await storage.setCredentials({ ...aliceCredentials, refreshToken: 'refresh' });
      await storage.setCredentials({ ...aliceCredentials, accessToken: 'second' });
      expect(await storage.getCredentials(alice)).toEqual({ ...aliceCredentials, accessToken: 'second' });
      expect(await (await look()).getCredentials(alice)).toEqual({ ...aliceCredentials, accessToken: 'second' });
    });

    check('keeps users apart', async (storage, look) => {
      await storage.setCredentials(aliceCredentials);
      await storage.setCredentials({ ...aliceCredentials, userId: bob, refreshToken: 'refresh' });
      await storage.deleteCredentials(alice);
      const kept = await look();
      expect(await kept.getCredentials(alice)).toBe(undefined);
      expect(await kept.getCredentials(bob)).toEqual({ ...aliceCredentials, userId: bob, refreshToken: 'refresh' });
    });

    check('deletes credentials that do not exist without an error', async (storage) => {
      await storage.deleteCredentials(alice);
      expect(await storage.getCredentials(alice)).toBe(undefined);
    });
  });

  describe('checkpoint', () => {
    check('is empty for an unknown user', async (storage) => {
      expect(await storage.loadCheckpoint(alice)).toEqual(emptyCheckpoint);
    });

    check('returns all parts of a commit', async (storage, look) => {
      await storage.commit(alice, {
        since: 's1',
        accountData: '{"m.direct":{}}',
        rooms: new Map([
          ['!a:x', '{"name":"A"}'],
          ['!b:x', ''],
        ]),
        lastDelivered: new Map([
          ['!a:x', { eventId: '$1', token: 't1' }],
          ['!b:x', { eventId: '$2' }],
        ]),
        journal: { add: [{ roomId: '!a:x', eventId: '$1' }] },
      });
      expect(await (await look()).loadCheckpoint(alice)).toEqual({
        since: 's1',
        accountData: '{"m.direct":{}}',
        rooms: new Map([
          ['!a:x', '{"name":"A"}'],
          ['!b:x', ''],
        ]),
        lastDelivered: new Map([
          ['!a:x', { eventId: '$1', token: 't1' }],
          ['!b:x', { eventId: '$2' }],
        ]),
        journal: [{ roomId: '!a:x', eventId: '$1' }],
      });
    });

    check('keeps all parts that a commit does not contain', async (storage, look) => {
      await storage.commit(alice, {
        since: 's1',
        accountData: 'a',
        rooms: new Map([
          ['!a:x', '1'],
          ['!b:x', '1'],
        ]),
      });
      await storage.commit(alice, { rooms: new Map([['!b:x', '2']]) });
      await storage.commit(alice, {});
      await storage.commit(bob, { since: 'other' });
      expect(await (await look()).loadCheckpoint(alice)).toEqual({
        ...emptyCheckpoint,
        since: 's1',
        accountData: 'a',
        rooms: new Map([
          ['!a:x', '1'],
          ['!b:x', '2'],
        ]),
      });
    });

    check('deletes the parts that a commit sets to null', async (storage, look) => {
      const lastDelivered = new Map([['!a:x', { eventId: '$1' }]]);
      await storage.commit(alice, { since: 's1', accountData: 'a', rooms: new Map([['!a:x', '1']]), lastDelivered });
      await storage.commit(alice, {
        since: null,
        accountData: null,
        rooms: new Map([
          ['!a:x', null],
          ['!unknown:x', null],
        ]),
        lastDelivered: new Map([['!a:x', null]]),
      });
      expect(await (await look()).loadCheckpoint(alice)).toEqual(emptyCheckpoint);
    });

    check('keeps `clientSince` until a commit sets `since`', async (storage, look) => {
      await storage.commit(alice, { since: 's1' });
      await storage.commit(alice, { clientSince: 's2', rooms: new Map([['!a:x', '1']]) });
      await storage.commit(alice, { accountData: 'a' });
      const rooms = new Map([['!a:x', '1']]);
      const both = { ...emptyCheckpoint, since: 's1', clientSince: 's2', accountData: 'a', rooms };
      const kept = await look();
      expect(await kept.loadCheckpoint(alice)).toEqual(both);
      await kept.commit(alice, { since: 's3' });
      const { clientSince: _, ...one } = both;
      expect(await kept.loadCheckpoint(alice)).toEqual({ ...one, since: 's3' });
      await kept.commit(alice, { clientSince: 's4' });
      await kept.commit(alice, { since: null });
      expect((await kept.loadCheckpoint(alice)).clientSince).toBe(undefined);
    });

    check('applies commits in the order of the calls, awaited or not', async (storage, look) => {
      const commits = Array.from({ length: 50 }, (_, i) => {
        return storage.commit(alice, {
          since: `s${i}`,
          rooms: new Map([
            ['!a:x', `${i}`],
            [`!${i}:x`, ''],
          ]),
        });
      });
      const seen = storage.loadCheckpoint(alice);
      const after = storage.commit(alice, { since: 'after' });
      expect((await seen).since).toBe('s49');
      await Promise.all([...commits, after]);
      const kept = await (await look()).loadCheckpoint(alice);
      expect([kept.since, kept.rooms.get('!a:x'), kept.rooms.size]).toEqual(['after', '49', 51]);
    });

    check('stores any text unchanged, whatever its characters and length', async (storage, look) => {
      const text = `\0 "quotes" \\ 7:colon\n\u{1F600} ${'long '.repeat(100_000)}`;
      await storage.commit(alice, {
        since: text,
        rooms: new Map([
          [`!${text.slice(0, 30)}`, text],
          ['', '1:2'],
        ]),
      });
      const kept = await (await look()).loadCheckpoint(alice);
      expect(kept.since === text && kept.rooms.get(`!${text.slice(0, 30)}`) === text).toBe(true);
      expect(kept.rooms.get('')).toBe('1:2');
    });
  });

  describe('journal', () => {
    const entries = ['$1', '$2', '$3'].map((eventId) => ({ roomId: '!a:x', eventId }));

    check('lists entries once, in the order in which they were added', async (storage, look) => {
      await storage.commit(alice, { journal: { add: entries.slice(0, 2) } });
      await storage.commit(alice, { journal: { add: entries } });
      await storage.commit(alice, { journal: { add: [{ roomId: '!b:x', eventId: '$1' }] } });
      const { journal } = await (await look()).loadCheckpoint(alice);
      expect(journal).toEqual([...entries, { roomId: '!b:x', eventId: '$1' }]);
    });

    check('prunes named entries before it adds', async (storage, look) => {
      await storage.commit(alice, { journal: { add: entries } });
      await storage.commit(alice, { since: 's1', journal: { prune: entries.slice(0, 2), add: entries.slice(0, 1) } });
      const { journal } = await (await look()).loadCheckpoint(alice);
      expect(journal.map(({ eventId }) => eventId)).toEqual(['$3', '$1']);
    });

    check('prunes all entries of one user only', async (storage, look) => {
      await storage.commit(alice, { journal: { add: entries } });
      await storage.commit(bob, { journal: { add: entries } });
      await storage.commit(alice, { journal: { prune: 'all' } });
      const kept = await look();
      expect((await kept.loadCheckpoint(alice)).journal).toEqual([]);
      expect((await kept.loadCheckpoint(bob)).journal).toEqual(entries);
    });

    check('drops the oldest entries beyond its limit', async (storage, look) => {
      const many = Array.from({ length: storageLimits.journalEntries + 3 }, (_, i) => ({
        roomId: '!a:x',
        eventId: `$${i}`,
      }));
      await storage.commit(alice, { journal: { add: many } });
      const { journal } = await (await look()).loadCheckpoint(alice);
      expect([journal.length, journal[0]?.eventId]).toEqual([storageLimits.journalEntries, '$3']);
    });
  });

  describe('dead letters', () => {
    check('lists the oldest first, up to the limit', async (storage, look) => {
      for (const id of ['$1', '$2', '$3']) await storage.addDeadLetter(alice, letter(id));
      await storage.addDeadLetter(bob, letter('$other'));
      const kept = await look();
      expect(await kept.listDeadLetters(alice)).toEqual([letter('$1'), letter('$2'), letter('$3')]);
      expect(await kept.listDeadLetters(alice, { limit: 2 })).toEqual([letter('$1'), letter('$2')]);
      expect(await kept.listDeadLetters(alice, { limit: 0 })).toEqual([]);
    });

    check('replaces a letter with the same id, and keeps its place in the order', async (storage, look) => {
      await storage.addDeadLetter(alice, letter('$1'));
      await storage.addDeadLetter(alice, letter('$2'));
      await storage.addDeadLetter(alice, letter('$1', 6));
      expect(await (await look()).listDeadLetters(alice)).toEqual([letter('$1', 6), letter('$2')]);
    });

    check('returns whether a letter was deleted', async (storage, look) => {
      await storage.addDeadLetter(alice, letter('$1'));
      expect(await storage.deleteDeadLetter(bob, '$1')).toBe(false);
      expect(await storage.deleteDeadLetter(alice, '$1')).toBe(true);
      expect(await storage.deleteDeadLetter(alice, '$1')).toBe(false);
      expect(await (await look()).listDeadLetters(alice)).toEqual([]);
    });

    check('drops the oldest beyond its limit', async (storage, look) => {
      const count = storageLimits.deadLetters + 2;
      await Promise.all(Array.from({ length: count }, (_, i) => storage.addDeadLetter(alice, letter(`$${i}`))));
      const kept = await (await look()).listDeadLetters(alice, { limit: count });
      expect([kept.length, kept[0]?.id]).toEqual([storageLimits.deadLetters, '$2']);
    });
  });

  describe('send queue', () => {
    check('enqueues a txnId once per user', async (storage, look) => {
      const first = await storage.enqueueSend(alice, send('t1'));
      expect(first).toEqual({ added: true, send: { ...send('t1'), userId: alice, state: 'queued' } });
      const again = await (await look()).enqueueSend(alice, { ...send('t1'), content: '{"body":"other"}' });
      expect(again).toEqual({ added: false, send: { ...send('t1'), userId: alice, state: 'queued' } });
    });

    check('enqueues a txnId once when it is repeated concurrently', async (storage) => {
      const results = await Promise.all(Array.from({ length: 10 }, () => storage.enqueueSend(alice, send('t1'))));
      expect(results.filter(({ added }) => added).length).toBe(1);
    });

    check(
      'lists sends in the order in which they were enqueued, of one user and of all users',
      async (storage, look) => {
        await storage.enqueueSend(alice, send('t1'));
        await storage.enqueueSend(bob, send('t1', '!b:x'));
        await storage.enqueueSend(alice, send('t2', '!b:x'));
        await storage.enqueueSend(alice, send('t3'));
        const kept = await look();
        const all = await kept.listSends();
        expect(all.map(({ userId, txnId }) => `${userId} ${txnId}`)).toEqual([
          `${alice} t1`,
          `${bob} t1`,
          `${alice} t2`,
          `${alice} t3`,
        ]);
        expect(await kept.listSends({ userId: bob })).toEqual([
          { ...send('t1', '!b:x'), userId: bob, state: 'queued' },
        ]);
        expect(await kept.listSends({ userId: '@nobody:x' })).toEqual([]);
      },
    );

    check('keeps the event id of a sent message, and not its content', async (storage, look) => {
      await storage.enqueueSend(alice, send('t1'));
      expect(await storage.completeSend(alice, 't1', '$event')).toBe(true);
      expect(await storage.completeSend(alice, 't1', '$other')).toBe(false);
      const kept = await look();
      const { content: _, ...rest } = send('t1');
      const sent = { ...rest, userId: alice, state: 'sent', eventId: '$event' };
      expect(await kept.listSends({ userId: alice })).toEqual([]);
      expect(await kept.listSends({ state: 'sent' })).toEqual([sent]);
      expect(await kept.enqueueSend(alice, send('t1'))).toEqual({ added: false, send: sent });
    });

    check('lists a failed send with its error until it is deleted or sent', async (storage, look) => {
      const error = { name: 'MatrixClientManagerError', message: 'not in the room', code: 'FORBIDDEN' };
      for (const txnId of ['t1', 't2', 't3']) await storage.enqueueSend(alice, send(txnId));
      expect(await storage.failSend(alice, 't2', error)).toBe(true);
      expect(await storage.failSend(alice, 't2', error)).toBe(false);
      expect(await storage.failSend(alice, 't1', error)).toBe(true);
      const kept = await look();
      const failed = await kept.listSends({ userId: alice, state: 'failed' });
      const settled = { userId: alice, state: 'failed', error };
      expect(failed).toEqual([
        { ...send('t2'), ...settled },
        { ...send('t1'), ...settled },
      ]);
      expect((await kept.listSends()).map(({ txnId }) => txnId)).toEqual(['t3']);
      expect(await kept.completeSend(alice, 't1', '$late')).toBe(true);
      expect(await kept.deleteSend(alice, 't2')).toBe(true);
      expect(await kept.listSends({ state: 'failed' })).toEqual([]);
    });

    check('returns false for an unknown send', async (storage) => {
      expect(await storage.completeSend(alice, 't1', '$event')).toBe(false);
      expect(await storage.failSend(alice, 't1', { name: 'Error', message: '' })).toBe(false);
      expect(await storage.deleteSend(alice, 't1')).toBe(false);
    });

    check('puts a deleted send at the end when it is enqueued again', async (storage, look) => {
      for (const txnId of ['t1', 't2']) await storage.enqueueSend(alice, send(txnId));
      expect(await storage.deleteSend(alice, 't1')).toBe(true);
      await storage.enqueueSend(alice, send('t1'));
      expect((await (await look()).listSends()).map(({ txnId }) => txnId)).toEqual(['t2', 't1']);
    });

    check('keeps a send that settles last, although it was enqueued first', async (storage, look) => {
      const txnIds = Array.from({ length: storageLimits.settledSends }, (_, i) => `t${i}`);
      const failure = { name: 'Error', message: 'refused' };
      for (const txnId of ['old failed', 'old sent', ...txnIds]) await storage.enqueueSend(alice, send(txnId));
      await Promise.all(txnIds.map((txnId) => storage.failSend(alice, txnId, failure)));
      expect(await storage.failSend(alice, 'old failed', failure)).toBe(true);
      const kept = await look();
      const failed = (await kept.listSends({ state: 'failed' })).map(({ txnId }) => txnId);
      expect(failed).toEqual([...txnIds.slice(1), 'old failed']);
      await Promise.all([...failed, 'old sent'].map((txnId) => kept.completeSend(alice, txnId, '$event')));
      const sent = (await kept.listSends({ state: 'sent' })).map(({ txnId }) => txnId);
      expect(sent).toEqual([...txnIds.slice(2), 'old failed', 'old sent']);
    });

    check('deletes the oldest sent entries beyond its limit, and no queued or failed ones', async (storage, look) => {
      const count = storageLimits.settledSends + 2;
      const txnIds = Array.from({ length: count }, (_, i) => `t${i}`);
      for (const txnId of ['queued', 'failed']) await storage.enqueueSend(alice, send(txnId));
      await storage.failSend(alice, 'failed', { name: 'Error', message: 'refused' });
      await Promise.all(txnIds.map((txnId) => storage.enqueueSend(alice, send(txnId))));
      expect((await storage.listSends()).length).toBe(count + 1);
      await Promise.all(txnIds.map((txnId) => storage.completeSend(alice, txnId, `$${txnId}`)));
      const kept = await look();
      const sent = await kept.listSends({ state: 'sent' });
      expect([sent.length, sent[0]?.txnId]).toEqual([storageLimits.settledSends, 't2']);
      for (const state of ['queued', 'failed'] as const) {
        expect((await kept.listSends({ state })).map(({ txnId }) => txnId)).toEqual([state]);
      }
    });
  });

  describe('encrypted rooms, if the storage remembers them', () => {
    check('are returned with what was set last, whatever their users', async (storage, look) => {
      await storage.setEncryptedRooms?.(
        new Map([
          ['!a:x', 'first'],
          ['!b:x', ''],
        ]),
      );
      await storage.setEncryptedRooms?.(new Map([['!a:x', 'second']]));
      await storage.commit(alice, { rooms: new Map([['!c:x', 'state']]) });
      await storage.deleteUser(alice);
      const kept = await look();
      const rooms = await kept.getEncryptedRooms?.(['!c:x', '!b:x', '!a:x', '!a:x']);
      if (rooms)
        expect([...rooms].toSorted(([a], [b]) => (a < b ? -1 : 1))).toEqual([
          ['!a:x', 'second'],
          ['!b:x', ''],
        ]);
      const none = await kept.getEncryptedRooms?.([]);
      if (none) expect(none.size).toBe(0);
    });
  });

  describe('events of `once`, if the storage remembers them', () => {
    check('are found when they were added, whatever their users', async (storage, look) => {
      await storage.addOnceEvents?.(['a', 'b'], 100);
      await storage.addOnceEvents?.(['b', 'c'], 100);
      await storage.addOnceEvents?.([], 100);
      await storage.deleteUser(alice);
      const kept = await look();
      const found = await kept.findOnceEvents?.(['c', 'x', 'b', 'a']);
      if (found) expect(found.toSorted()).toEqual(['a', 'b', 'c']);
      const none = await kept.findOnceEvents?.([]);
      if (none) expect(none).toEqual([]);
    });

    check('stay up to the limit, the newest, and at most a hundredth more', async (storage, look) => {
      const keys = Array.from({ length: 320 }, (_, n) => `key ${n}`);
      for (const key of keys) await storage.addOnceEvents?.([key], 200);
      const kept = await look();
      const found = await kept.findOnceEvents?.(keys);
      if (!found) return;
      expect(found.toSorted()).toEqual(keys.slice(-found.length).toSorted());
      expect(found.length >= 200 && found.length <= 202).toBe(true);
    });

    check('are added before a commit that was called later', async (storage, look) => {
      void storage.addOnceEvents?.(['a'], 100);
      await storage.commit(alice, { since: 's1' });
      const kept = await look();
      const found = await kept.findOnceEvents?.(['a']);
      if (found) expect(found).toEqual(['a']);
    });
  });

  describe('as a whole', () => {
    check('deletes everything of one user', async (storage, look) => {
      for (const userId of [alice, bob]) {
        await storage.setCredentials({ ...aliceCredentials, userId });
        await storage.commit(userId, { since: 's1', rooms: new Map([['!a:x', '1']]) });
        await storage.addDeadLetter(userId, letter('$1'));
        await storage.enqueueSend(userId, send('t1'));
      }
      await storage.deleteUser(alice);
      await storage.deleteUser('@nobody:x');
      const kept = await look();
      expect(await kept.getCredentials(alice)).toBe(undefined);
      expect(await kept.loadCheckpoint(alice)).toEqual(emptyCheckpoint);
      expect(await kept.listDeadLetters(alice)).toEqual([]);
      expect((await kept.listSends()).map(({ userId }) => userId)).toEqual([bob]);
      expect((await kept.loadCheckpoint(bob)).since).toBe('s1');
    });

    check('copies values that it stores and returns', async (storage) => {
      const credentials = { ...aliceCredentials };
      const rooms = new Map([['!a:x', '1']]);
      const position = { eventId: '$1' };
      const entry = { roomId: '!a:x', eventId: '$1' };
      const deadLetter = { ...letter('$1'), error: { name: 'Error', message: 'first' } };
      const outgoing = { ...send('t1') };
      const stored = [
        storage.setCredentials(credentials),
        storage.commit(alice, { rooms, lastDelivered: new Map([['!a:x', position]]), journal: { add: [entry] } }),
        storage.addDeadLetter(alice, deadLetter),
        storage.enqueueSend(alice, outgoing),
      ];
      credentials.accessToken = position.eventId = entry.eventId = deadLetter.error.message = outgoing.type = 'changed';
      rooms.set('!a:x', 'changed');
      await Promise.all(stored);
      const look = async (): Promise<unknown[]> => [
        await storage.getCredentials(alice),
        await storage.loadCheckpoint(alice),
        await storage.listDeadLetters(alice),
        await storage.listSends(),
      ];
      const first = await look();
      expect(JSON.stringify(first).includes('changed')).toBe(false);
      const copy = structuredClone(first);
      const [credentialsOut, checkpoint, letters, sends] = first as [
        { accessToken: string },
        StoredCheckpoint,
        { error: { message: string } }[],
        { type: string }[],
      ];
      credentialsOut.accessToken = 'changed';
      checkpoint.rooms.set('!a:x', 'changed');
      (checkpoint.lastDelivered.get('!a:x') as { eventId: string }).eventId = 'changed';
      checkpoint.journal.pop();
      for (const { error } of letters) error.message = 'changed';
      for (const queued of sends) queued.type = 'changed';
      expect(await look()).toEqual(copy);
    });

    check(
      'finishes earlier calls on close, and rejects later calls',
      async (storage, look) => {
        const before = storage.commit(alice, { since: 's1' });
        const closed = storage.close();
        const after = [
          storage.getCredentials(alice),
          storage.setCredentials(aliceCredentials),
          storage.deleteCredentials(alice),
          storage.loadCheckpoint(alice),
          storage.commit(alice, { since: 's2' }),
          storage.addDeadLetter(alice, letter('$1')),
          storage.listDeadLetters(alice),
          storage.deleteDeadLetter(alice, '$1'),
          storage.enqueueSend(alice, send('t1')),
          storage.listSends(),
          storage.completeSend(alice, 't1', '$1'),
          storage.failSend(alice, 't1', { name: 'Error', message: '' }),
          storage.deleteSend(alice, 't1'),
          storage.deleteUser(alice),
          ...[storage.getEncryptedRooms?.(['!a:x']), storage.setEncryptedRooms?.(new Map())].filter(Boolean),
          ...[storage.findOnceEvents?.(['a']), storage.addOnceEvents?.(['a'], 100)].filter(Boolean),
        ];
        await Promise.all(after.map((call) => expect(call).rejects.toMatchObject({ code: 'STORAGE' })));
        await Promise.all([before, closed, storage.close(), storage[Symbol.asyncDispose]()]);
        const kept = await look();
        if (kept !== storage) expect((await kept.loadCheckpoint(alice)).since).toBe('s1');
      },
      { ofClosed: true },
    );
  });
}
