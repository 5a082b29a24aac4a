import type { MatrixClient, MatrixEvent } from 'matrix-js-sdk';
import { DecryptionError } from 'matrix-js-sdk/lib/common-crypto/CryptoBackend.js';
import { DecryptionFailureCode } from 'matrix-js-sdk/lib/crypto-api/index.js';
import { describe, expect, it } from 'vitest';
import { decryption } from '../../../src/core/decryption.js';
import { DeviceLists } from '../../../src/sdk/crypto/device-lists.js';
import { EventDecryptor } from '../../../src/sdk/crypto/event-decryptor.js';
import { QueuedKeys } from '../../../src/sdk/crypto/queued-keys.js';
import { ManualClock } from '../../../src/testing/manual-clock.js';
import { rejection } from '../../support/rejection.js';

const result = {
  state: 'decrypted',
  sender: { authenticated: true, deviceId: 'D', signedByOwner: true, ownerVerified: false, identityChanged: false },
} as const;
const check = { isMismatch: false, isTrusted: true, sender: result.sender, dependsOnDeviceLists: false };
const checks = { refusalOf: () => undefined, resultOf: () => result, senderOf: () => check };

function newDecryptor(matrixClient: MatrixClient, clock = new ManualClock()): EventDecryptor {
  const { signal: ended } = new AbortController();
  const queuedKeys = new QueuedKeys(clock);
  return new EventDecryptor({ matrixClient, clock, ended, checks, deviceLists: new DeviceLists(clock), queuedKeys });
}

/** Decrypts everything to the same. */
function decryptorTo(clearEvent: object): EventDecryptor {
  const crypto = { decryptEvent: async () => ({ clearEvent }), eventDecryptor: { removeEventFromPendingList() {} } };
  const matrixClient = { getCrypto: () => crypto } as unknown as MatrixClient;
  return newDecryptor(matrixClient);
}

describe('EventDecryptor', () => {
  const sealed = {
    event_id: '$1',
    type: 'm.room.encrypted',
    sender: '@a:x',
    origin_server_ts: 1,
    content: { algorithm: 'm.megolm.v1.aes-sha2', ciphertext: 'c', session_id: 's' },
  };

  it('gives what was encrypted', async () => {
    const decryptor = decryptorTo({ type: 'm.room.message', content: { body: 'hello' } });
    expect(await decryptor.decrypt('!r:x', sealed)).toEqual({
      ...sealed,
      type: 'm.room.message',
      content: { body: 'hello' },
      [decryption]: result,
    });
  });

  it.each(['m.room.redaction', 'm.room.create'])(
    'takes no %s from a ciphertext: whoever may speak could',
    async (type) => {
      const decryptor = decryptorTo({ type, content: { redacts: '$of-somebody-else' } });
      expect(await decryptor.decrypt('!r:x', sealed)).toEqual({
        ...sealed,
        [decryption]: { state: 'failed', reason: 'unreadable' },
      });
    },
  );

  it('gives what was encrypted as it is where that is nested 20,000 levels, with its bundled edit', async () => {
    let deep: object = {};
    for (let level = 0; level < 20_000; level++) deep = { deep };
    const decryptor = decryptorTo({ type: 'm.room.message', content: { body: 'hello', deep } });
    const edited = { ...sealed, unsigned: { 'm.relations': { 'm.replace': { ...sealed, event_id: '$2' } } } };
    const { type, content, [decryption]: outcome } = await decryptor.decrypt('!r:x', edited);
    expect([type, content.body, content['deep'] === deep, outcome]).toEqual(['m.room.message', 'hello', true, result]);
  });

  it.each([
    ['a bare error', new RangeError('Maximum call stack size exceeded')],
    ['what is no error', 'panicked'],
  ])('calls a message unreadable that the crypto library fails on with %s', async (_, failure) => {
    const crypto = {
      decryptEvent: () => Promise.reject(failure),
      eventDecryptor: { removeEventFromPendingList() {} },
    };
    const matrixClient = { getCrypto: () => crypto } as unknown as MatrixClient;
    const decryptor = newDecryptor(matrixClient);
    expect(await decryptor.decrypt('!r:x', sealed)).toEqual({
      ...sealed,
      [decryption]: { state: 'failed', reason: 'unreadable' },
    });
  });

  describe('of a message whose key was withheld', () => {
    const { signal } = new AbortController();
    const clear = { type: 'm.room.message', content: { body: 'hello' } };

    /** @param backup - the backup's version; null where there is none */
    function withheld(backup: string | null) {
      const clock = new ManualClock();
      const asked: MatrixEvent[] = [];
      const key = { isThere: false };
      const crypto = {
        decryptEvent: async (event: MatrixEvent) => {
          asked.push(event);
          if (key.isThere) return { clearEvent: clear };
          throw new DecryptionError(DecryptionFailureCode.MEGOLM_KEY_WITHHELD, 'withheld');
        },
        eventDecryptor: { removeEventFromPendingList() {} },
        backupManager: { activeBackupVersion: backup },
      };
      const matrixClient = { getCrypto: () => crypto } as unknown as MatrixClient;
      const decryptor = newDecryptor(matrixClient, clock);
      /** As the SDK does when a key comes. */
      const retry = (): unknown => asked[0]?.attemptDecryption(crypto as never, { isRetry: true });
      const wait = { until: clock.now() + 30_000, signal };
      const decrypt = (sessionId = 's') =>
        decryptor.decrypt('!r:x', { ...sealed, content: { ...sealed.content, session_id: sessionId } }, wait);
      return { clock, key, retry, decrypt };
    }

    it('waits for what the backup has', async () => {
      const { clock, key, retry, decrypt } = withheld('1');
      const event = decrypt();
      await clock.advance(1_000);
      key.isThere = true;
      await retry();
      expect(await event).toMatchObject({ content: { body: 'hello' }, [decryption]: { state: 'decrypted' } });
      expect(clock.pendingTimers).toBe(0);
    });

    it('waits five seconds, once a session', async () => {
      const { clock, decrypt } = withheld('1');
      const first = decrypt();
      await clock.advance(4_999);
      expect(clock.pendingTimers).toBe(1);
      await clock.advance(1);
      expect(await first).toMatchObject({ [decryption]: { state: 'failed', reason: 'withheld' } });
      expect(await decrypt()).toMatchObject({ [decryption]: { state: 'failed', reason: 'withheld' } });
    });

    it('remembers the last 1,000 sessions that the backup lacks', async () => {
      const { clock, decrypt } = withheld('1');
      const waits = async (sessionId: string): Promise<boolean> => {
        const event = decrypt(sessionId);
        await clock.advance(0);
        const isWaiting = clock.pendingTimers > 0;
        await clock.advance(5_000);
        await event;
        return isWaiting;
      };
      const sessions = Array.from({ length: 1_001 }, (_value, n) => `s${n}`);
      const all = Promise.all(sessions.map((sessionId) => decrypt(sessionId)));
      await clock.advance(5_000);
      await all;
      expect([await waits('s1000'), await waits('s1'), await waits('s0')]).toEqual([false, false, true]);
    });

    it('does not wait without a backup', async () => {
      expect(await withheld(null).decrypt()).toMatchObject({ [decryption]: { state: 'failed', reason: 'withheld' } });
    });
  });

  describe('of a message whose sending device seems unsigned', () => {
    const clear = { type: 'm.room.message', content: { body: 'hello' } };

    function stranger({ receive = 'warn', isTrusted = false, authenticated = true, isFromBackup = false } = {}) {
      const clock = new ManualClock();
      const lists = new DeviceLists(clock);
      const end = new AbortController();
      const known = { isSigned: false, attempts: 0 };
      const sender = () => ({ ...result.sender, authenticated, signedByOwner: known.isSigned });
      const isRefused = (): boolean => receive === 'refuse' && !known.isSigned;
      const crypto = {
        decryptEvent: async () => {
          known.attempts++;
          if (isRefused()) throw new Error('refused');
          return { clearEvent: clear };
        },
        eventDecryptor: { removeEventFromPendingList() {} },
      };
      const decryptor = new EventDecryptor({
        matrixClient: { getCrypto: () => crypto } as unknown as MatrixClient,
        clock,
        ended: end.signal,
        checks: {
          refusalOf: () => (isRefused() ? 'untrusted-sender' : undefined),
          resultOf: () => ({ state: 'decrypted', sender: sender() }),
          senderOf: () => ({
            isMismatch: false,
            isTrusted: isTrusted || known.isSigned,
            sender: sender(),
            dependsOnDeviceLists: !isFromBackup && !known.isSigned,
          }),
        },
        deviceLists: lists,
        queuedKeys: new QueuedKeys(clock),
      });
      const fetching = Promise.withResolvers<void>();
      const stop = new AbortController();
      const wait = { until: clock.now() + 30_000, signal: stop.signal };
      return { clock, lists, end, known, fetching, stop, wait, decryptor };
    }

    /** What `work` has come to so far. */
    async function soFar<T>(clock: ManualClock, work: Promise<T>): Promise<T | 'waits'> {
      const state: { value: T | 'waits' } = { value: 'waits' };
      void work.then((value) => (state.value = value));
      await clock.advance(0);
      return state.value;
    }

    const refused = { [decryption]: { state: 'failed', reason: 'untrusted-sender' } };
    const signed = {
      content: { body: 'hello' },
      [decryption]: { state: 'decrypted', sender: { signedByOwner: true } },
    };
    const unsigned = { [decryption]: { state: 'decrypted', sender: { signedByOwner: false } } };

    it.each([
      ['refuse', 'live'],
      ['warn', 'live'],
      ['refuse', 'on a page'],
      ['warn', 'on a page'],
    ])('waits for the device lists that are being fetched: receive %s, %s', async (receive, place) => {
      const { clock, lists, known, fetching, wait, decryptor } = stranger({ receive });
      lists.updateBy(fetching.promise, [sealed.sender]);
      const event = decryptor.decrypt('!r:x', sealed, place === 'live' ? wait : undefined);
      expect(await soFar(clock, event)).toBe('waits');
      known.isSigned = true;
      fetching.resolve();
      expect(await event).toMatchObject(signed);
      expect(clock.pendingTimers).toBe(0);
    });

    it('waits for a fetch of all lists, also after a later fetch of other lists', async () => {
      const { clock, lists, known, fetching, wait, decryptor } = stranger({ receive: 'refuse' });
      lists.updateBy(fetching.promise, 'all');
      lists.updateBy(Promise.resolve(), ['@other:x']);
      await clock.advance(0);
      const event = decryptor.decrypt('!r:x', sealed, wait);
      expect(await soFar(clock, event)).toBe('waits');
      known.isSigned = true;
      fetching.resolve();
      expect(await event).toMatchObject(signed);
    });

    it('waits for the fetch that repeats a failed one, until the list of its sender has changed', async () => {
      const { clock, lists, known, fetching, wait, decryptor } = stranger({ receive: 'refuse' });
      lists.updateBy(Promise.reject(new Error('no answer')), [sealed.sender]);
      await clock.advance(0);
      lists.updateBy(fetching.promise, ['@other:x']);
      const event = decryptor.decrypt('!r:x', sealed, wait);
      expect(await soFar(clock, event)).toBe('waits');
      known.isSigned = true;
      fetching.resolve();
      expect(await event).toMatchObject(signed);
      known.isSigned = false;
      lists.noteChange([sealed.sender]);
      lists.updateBy(new Promise(() => {}), ['@other:x']);
      expect(await decryptor.decrypt('!r:x', { ...sealed }, wait)).toMatchObject(refused);
    });

    it.each([
      ['lists of other users', { isFromBackup: false, changed: '@other:x' }],
      ['its sender’s list, if its key came from a backup', { isFromBackup: true, changed: sealed.sender }],
    ])('does not wait for %s', async (_name, { isFromBackup, changed }) => {
      const { clock, lists, known, fetching, wait, decryptor } = stranger({
        isFromBackup,
        authenticated: !isFromBackup,
      });
      lists.updateBy(fetching.promise, [changed]);
      for (let n = 1; n <= 2; n++) expect(await decryptor.decrypt('!r:x', sealed, wait)).toMatchObject(unsigned);
      expect([known.attempts, clock.pendingTimers]).toEqual([1, 0]);
    });

    it('checks once more after a fetch that ended, or failed, during the first check', async () => {
      const { lists, known, fetching, wait, decryptor } = stranger({ receive: 'refuse' });
      lists.updateBy(fetching.promise, [sealed.sender]);
      const event = decryptor.decrypt('!r:x', sealed, wait);
      fetching.reject(new Error('no answer'));
      expect(await event).toMatchObject(refused);
      expect([known.attempts, lists.updateOf()]).toEqual([2, undefined]);
    });

    it.each([
      ['as long as for a key, where it would be refused', { receive: 'refuse' }, true, 30_000, refused],
      ['five seconds on a page', { receive: 'refuse' }, false, 5_000, refused],
    ])('waits for lists that do not come %s', async (_name, policy, isLive, waitMs, expected) => {
      const { clock, lists, fetching, wait, decryptor } = stranger(policy);
      lists.updateBy(fetching.promise, [sealed.sender]);
      const decrypt = () => decryptor.decrypt('!r:x', { ...sealed }, isLive ? wait : undefined);
      const event = decrypt();
      await clock.advance(waitMs - 1);
      expect(await soFar(clock, event)).toBe('waits');
      await clock.advance(1);
      expect(await event).toMatchObject(expected);
      expect(await decrypt()).toMatchObject(expected); // without a wait of its own
      expect(clock.pendingTimers).toBe(0);
    });

    it.each(['refuse', 'warn'])('does not wait for lists that are up to date: receive %s', async (receive) => {
      const { clock, known, wait, decryptor } = stranger({ receive });
      const expected = receive === 'refuse' ? refused : unsigned;
      for (let n = 1; n <= 3; n++) {
        expect(await decryptor.decrypt('!r:x', { ...sealed }, wait)).toMatchObject(expected);
        expect([known.attempts, clock.pendingTimers]).toEqual([n, 0]);
      }
    });

    it('does not wait for the lists where the policy allows the device as it is', async () => {
      const { clock, lists, fetching, wait, decryptor } = stranger({ isTrusted: true });
      lists.updateBy(fetching.promise, [sealed.sender]);
      expect(await decryptor.decrypt('!r:x', { ...sealed }, wait)).toMatchObject(unsigned);
      expect(await decryptor.decrypt('!r:x', { ...sealed })).toMatchObject(unsigned);
      expect(clock.pendingTimers).toBe(0);
    });

    it('does not wait for the lists where the device is signed', async () => {
      const { clock, lists, known, fetching, wait, decryptor } = stranger({ receive: 'refuse' });
      known.isSigned = true;
      lists.updateBy(fetching.promise, [sealed.sender]);
      expect(await decryptor.decrypt('!r:x', sealed, wait)).toMatchObject(signed);
      expect([known.attempts, clock.pendingTimers]).toEqual([1, 0]);
    });

    it.each(['the stop of its delivery', 'the end of the client'])('waits no more after %s', async (ending) => {
      const { clock, lists, end, stop, fetching, wait, decryptor } = stranger();
      lists.updateBy(fetching.promise, [sealed.sender]);
      const event = rejection(decryptor.decrypt('!r:x', sealed, wait));
      expect(await soFar(clock, event)).toBe('waits');
      (ending === 'the end of the client' ? end : stop).abort();
      expect(await event).toMatchObject({ code: 'ABORTED' });
      expect(clock.pendingTimers).toBe(0);
    });

    it('judges it anew after the device lists have changed', async () => {
      const { lists, known, decryptor } = stranger();
      expect(await decryptor.decrypt('!r:x', sealed)).toMatchObject(unsigned);
      expect(await decryptor.decrypt('!r:x', sealed)).toMatchObject(unsigned);
      expect(known.attempts).toBe(1);
      known.isSigned = true;
      lists.noteChange([sealed.sender]);
      for (let n = 0; n < 2; n++) expect(await decryptor.decrypt('!r:x', sealed)).toMatchObject(signed);
      lists.noteChange([sealed.sender]);
      expect(await decryptor.decrypt('!r:x', sealed)).toMatchObject(signed);
      expect(known.attempts).toBe(2);
    });

    it('judges it anew each time while its device is unknown', async () => {
      const { known, decryptor } = stranger({ authenticated: false });
      for (let n = 1; n <= 2; n++) {
        await decryptor.decrypt('!r:x', sealed);
        expect(known.attempts).toBe(n);
      }
    });

    it('judges the edit in its event anew, too', async () => {
      const { lists, known, decryptor } = stranger();
      const edit = { ...sealed, event_id: '$2' };
      const edited = { ...sealed, unsigned: { 'm.relations': { 'm.replace': edit } } };
      await decryptor.decrypt('!r:x', edit);
      known.isSigned = true;
      await decryptor.decrypt('!r:x', edited); // signed, with an edit that was judged before
      lists.noteChange([sealed.sender]);
      const { unsigned: inside } = await decryptor.decrypt('!r:x', edited);
      expect(inside).toMatchObject({ 'm.relations': { 'm.replace': signed } });
    });
  });
});
