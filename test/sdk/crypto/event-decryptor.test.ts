import type { MatrixClient, MatrixEvent } from 'matrix-js-sdk';
import { DecryptionError } from 'matrix-js-sdk/lib/common-crypto/CryptoBackend.js';
import { DecryptionFailureCode } from 'matrix-js-sdk/lib/crypto-api/index.js';
import { describe, expect, it } from 'vitest';
import { decryption } from '../../../src/core/decryption.js';
import { EventDecryptor } from '../../../src/sdk/crypto/event-decryptor.js';
import { ManualClock } from '../../../src/testing/manual-clock.js';

const result = {
  state: 'decrypted',
  sender: { authenticated: true, deviceId: 'D', signedByOwner: true, ownerVerified: false, identityChanged: false },
} as const;
const checks = { refusalOf: () => undefined, resultOf: () => result };

/** Decrypts everything to the same. */
function decryptorTo(clearEvent: object): EventDecryptor {
  const crypto = { decryptEvent: async () => ({ clearEvent }), eventDecryptor: { removeEventFromPendingList() {} } };
  const matrixClient = { getCrypto: () => crypto } as unknown as MatrixClient;
  return new EventDecryptor(matrixClient, new ManualClock(), new AbortController().signal, checks);
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
    const decryptor = new EventDecryptor(matrixClient, new ManualClock(), new AbortController().signal, checks);
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
      const decryptor = new EventDecryptor(matrixClient, clock, signal, checks);
      /** As the SDK does when a key comes. */
      const retry = (): unknown => asked[0]?.attemptDecryption(crypto as never, { isRetry: true });
      const wait = { until: clock.now() + 30_000, signal };
      return { clock, key, retry, decrypt: () => decryptor.decrypt('!r:x', sealed, wait) };
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

    it('does not wait without a backup', async () => {
      expect(await withheld(null).decrypt()).toMatchObject({ [decryption]: { state: 'failed', reason: 'withheld' } });
    });
  });
});
