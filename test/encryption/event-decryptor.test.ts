import type { MatrixClient } from 'matrix-js-sdk';
import { describe, expect, it } from 'vitest';
import { decryption } from '../../src/core/decryption.js';
import { EventDecryptor } from '../../src/encryption/event-decryptor.js';
import { ManualClock } from '../../src/testing/manual-clock.js';

/** Decrypts everything to the same. */
function decryptorTo(clearEvent: object): EventDecryptor {
  const crypto = { decryptEvent: async () => ({ clearEvent }), eventDecryptor: { removeEventFromPendingList() {} } };
  const matrixClient = { getCrypto: () => crypto } as unknown as MatrixClient;
  return new EventDecryptor(matrixClient, new ManualClock(), new AbortController().signal);
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
      [decryption]: { state: 'decrypted' },
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
});
