import { join } from 'node:path';
import { DecryptionSettings, RoomId, TrustRequirement } from '@matrix-org/matrix-sdk-crypto-wasm';
import { describe, expect, it } from 'vitest';
import type { CryptoStore } from '../../src/encryption/store/crypto-store.js';
import { openCryptoStore } from './support/crypto-store.js';
import { runChild } from '../storage/children/run-child.js';
import { temporaryFolder } from '../storage/temporary-folder.js';
import { contentOf, openDb } from './support/indexed-db.js';
import { expectEachKeyUsedOnce } from './support/message-index.js';
import { olmMachineOn } from './support/olm-machine.js';

const secret = new Uint8Array(32).fill(7);
/** Kills per test; a longer run sets the variable. */
const rounds = Number(process.env['CRYPTO_KILL_ROUNDS'] ?? 3);
const timeoutMs = 20_000 + rounds * 3_000;
const users = ['@a:x', '@b:x', '@c:x'];

describe('a killed process', () => {
  it(
    'has lost no change that was complete, and left none half made',
    async () => {
      const path = join(temporaryFolder(), 'crypto.sqlite');
      const complete = new Map<string, number>();
      for (let round = 0; round < rounds; round++) {
        const child = runChild('../../encryption/children/commit.ts', [
          path,
          `${Math.max(0, ...complete.values()) + 1}`,
        ]);
        await child.printed(1 + Math.floor(Math.random() * 500));
        for (const line of await child.kill()) {
          const [kind, userId = '', n = ''] = line.split(' ');
          if (kind === 'complete') complete.set(userId, Number(n));
        }
        await using store = await openCryptoStore({ path, secret });
        for (const userId of users) {
          const found = await changeIn(store, userId);
          expect(found).toBeGreaterThanOrEqual(complete.get(userId) ?? 0);
        }
      }
      expect(complete.size).toBe(users.length);
    },
    timeoutMs,
  );

  it(
    'has used no message index twice and can read all it has encrypted, also when killed while making its keys',
    async () => {
      const path = join(temporaryFolder(), 'crypto.sqlite');
      const identities = new Set<string>();
      const events: { roomId: string; content: { session_id: string; ciphertext: string } }[] = [];
      for (let round = 0; round < rounds; round++) {
        const child = runChild('../../encryption/children/encrypt.ts', [path]);
        await child.printed(1);
        if (round % 2 === 0) await after(Math.random() * 150); // while it makes its keys, or opens them
        else await child.printed(2 + Math.floor(Math.random() * 200));
        for (const line of await child.kill()) {
          const [, kind, first = '', json = ''] = /^(\w+) (\S+) ?(.*)$/.exec(line) ?? [];
          if (kind === 'identity') identities.add(first);
          if (kind === 'event') events.push({ roomId: first, content: JSON.parse(json) });
        }
      }
      expect(identities.size).toBe(1);
      expectEachKeyUsedOnce(events.map(({ content }) => content));
      expect(events.length).toBeGreaterThan(0);
      await using store = await openCryptoStore({ path, secret });
      const keys = await store.openUser({ userId: '@a:x', deviceId: 'D' });
      const machine = await olmMachineOn(keys);
      expect(identities).toContain(machine.identityKeys.ed25519.toBase64());
      for (const [i, { roomId, content }] of events.entries()) {
        const event = { type: 'm.room.encrypted', event_id: `$${i}`, sender: '@a:x', origin_server_ts: i, content };
        const settings = new DecryptionSettings(TrustRequirement.Untrusted);
        await machine.decryptRoomEvent(JSON.stringify(event), new RoomId(roomId), settings);
      }
      machine.close();
    },
    timeoutMs,
  );

  it(
    'opens again where it was killed while it made its keys, with those that it has told of',
    async () => {
      const folder = temporaryFolder();
      const untold: number[] = [];
      for (let round = 0; round < rounds; round++) {
        const path = join(folder, `${round}.sqlite`);
        const child = runChild('../../encryption/children/encrypt.ts', [path]);
        await child.printed(1);
        await after(Math.random() * 120);
        const told = (await child.kill()).find((line) => line.startsWith('identity'));
        if (told === undefined) untold.push(round);
        await using store = await openCryptoStore({ path, secret });
        const machine = await olmMachineOn(await store.openUser({ userId: '@a:x', deviceId: 'D' }));
        const identity = `identity ${machine.identityKeys.ed25519.toBase64()}`;
        expect(told ?? identity).toBe(identity);
        machine.close();
      }
      expect(untold.length).toBeGreaterThanOrEqual(rounds > 20 ? 5 : 0); // or nothing was interrupted
    },
    timeoutMs,
  );
});

/** The number of the last change of the user, whose parts have to be of the same one. */
async function changeIn(store: CryptoStore, userId: string): Promise<number> {
  const keys = await store.openUser({ userId, deviceId: 'D' });
  const db = await openDb(keys.cryptoDatabasePrefix, (db) => {
    for (const name of ['account', 'sessions', 'gone']) db.createObjectStore(name);
  });
  const [account, sessions, gone] = await Promise.all(
    ['account', 'sessions', 'gone'].map((name) => contentOf(db, name)),
  );
  await keys.close();
  const n = (account?.['account'] as { n: number } | undefined)?.n ?? 0;
  if (n > 0) {
    expect(account).toEqual({ account: { n, pickle: 'x'.repeat((n * 97) % 3_000) } });
    expect(Math.max(...(Object.values(sessions ?? {}) as number[]))).toBe(n);
    expect(gone).toHaveProperty(`${n}`, n);
    expect(gone).not.toHaveProperty(`${n - 1}`);
  }
  return n;
}

function after(ms: number): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, ms);
  });
}
