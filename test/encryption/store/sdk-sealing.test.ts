import { DecryptionSettings, EncryptionSettings, RoomId, TrustRequirement } from '@matrix-org/matrix-sdk-crypto-wasm';
import type { OlmMachine } from '@matrix-org/matrix-sdk-crypto-wasm';
import { mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { systemClock } from '../../../src/core/clock.js';
import { silentLogger } from '../../../src/core/logger.js';
import type { KeyStore } from '../../../src/core/ports/key-store.js';
import { cryptoLayout } from '../../../src/encryption/store/sqlite/crypto-file.js';
import { SqliteKeyStore } from '../../../src/encryption/store/sqlite/sqlite-key-store.js';
import { openDatabase } from '../../../src/storage/sqlite/open-database.js';
import { MemoryKeys } from '../../../src/testing/memory-keys.js';
import { FileSearch } from '../../crash/encryption/file-search.js';
import { allBytes, query } from '../../storage/sqlite/sqlite-file.js';
import { temporaryFolder } from '../../storage/temporary-folder.js';
import { clientWith, encrypt } from '../support/encrypted-client.js';
import { cryptoStoreOn } from '../support/crypto-store.js';
import { olmMachineOn } from '../support/olm-machine.js';
import { createSealedBySdk } from '../support/sealed-by-sdk.js';

const secret = new Uint8Array(32).fill(7);
const device = { userId: '@alice:example.org', deviceId: 'DEVICEOFALICE' };
const roomId = '!secretroom:example.org';
const META = 'matrix-sdk-crypto-meta';

interface Encrypted {
  readonly ciphertext: string;
  readonly session_id: string;
}

async function encryptMessage(machine: OlmMachine, body: string): Promise<Encrypted> {
  await machine.shareRoomKey(new RoomId(roomId), [], new EncryptionSettings());
  const content = JSON.stringify({ msgtype: 'm.text', body });
  return JSON.parse(await machine.encryptRoomEvent(new RoomId(roomId), 'm.room.message', content)) as Encrypted;
}

async function decryptedBody(machine: OlmMachine, content: Encrypted, eventId = '$1'): Promise<string> {
  const event = { event_id: eventId, type: 'm.room.encrypted', sender: device.userId, origin_server_ts: 1, content };
  const settings = new DecryptionSettings(TrustRequirement.Untrusted);
  const decrypted = await machine.decryptRoomEvent(JSON.stringify(event), new RoomId(roomId), settings);
  return (JSON.parse(decrypted.event) as { readonly content: { readonly body: string } }).content.body;
}

/** Opens the device as a client does, and closes it. */
async function withMachine<T>(keys: KeyStore, use: (machine: OlmMachine) => Promise<T>): Promise<T> {
  const store = await cryptoStoreOn({ ...callsOf(keys), close: async () => {} });
  try {
    const machine = await olmMachineOn(await store.openUser(device));
    const result = await use(machine);
    machine.close();
    return result;
  } finally {
    await store.close();
  }
}

function callsOf(keys: KeyStore): Omit<KeyStore, 'close'> {
  return {
    devicesOf: (userId) => keys.devicesOf(userId),
    openDevice: (options) => keys.openDevice(options),
    forgetDevice: (userId, deviceId) => keys.forgetDevice(userId, deviceId),
    rotateSecret: (secret) => keys.rotateSecret(secret),
    [Symbol.asyncDispose]: async () => {},
  };
}

async function databaseNames(keys: KeyStore): Promise<string[]> {
  const handle = await keys.openDevice(device);
  await handle.release();
  return handle.databases.map(({ name }) => name).toSorted();
}

const keyStores = [
  {
    name: 'SqliteKeyStore',
    open: async () =>
      SqliteKeyStore.open(
        { clock: systemClock, logger: silentLogger },
        { path: join(temporaryFolder(), 'keys.sqlite'), secret },
      ),
  },
  { name: 'MemoryKeys', open: () => new MemoryKeys().open(secret) },
];

describe.each(keyStores)('a new device on $name', ({ open }) => {
  it('is not sealed by the SDK, at any of its openings, and keeps its identity', async () => {
    await using keys = await open();
    const seen: string[] = [];
    let message: Encrypted | undefined;
    for (let n = 0; n < 3; n++) {
      await withMachine(keys, async (machine) => {
        seen.push(machine.identityKeys.ed25519.toBase64());
        message ??= await encryptMessage(machine, 'hello');
        expect(await decryptedBody(machine, message)).toBe('hello');
      });
      expect(await databaseNames(keys)).toEqual(['matrix-sdk-crypto']);
    }
    expect(new Set(seen).size).toBe(1);
  });
});

describe.each(keyStores)('a device of an earlier release on $name', ({ open }) => {
  it('stays sealed by the SDK, keeps its identity, decrypts and goes on', async () => {
    await using keys = await open();
    const seen: string[] = [];
    const messages: Encrypted[] = [];
    await createSealedBySdk(keys, device, async (machine) => {
      seen.push(machine.identityKeys.ed25519.toBase64());
      messages.push(await encryptMessage(machine, 'message 0'));
    });
    expect(await databaseNames(keys)).toEqual(['matrix-sdk-crypto', META]);
    for (let n = 1; n < 3; n++) {
      await withMachine(keys, async (machine) => {
        seen.push(machine.identityKeys.ed25519.toBase64());
        messages.push(await encryptMessage(machine, `message ${n}`));
        for (const [i, message] of messages.entries()) {
          expect(await decryptedBody(machine, message, `$${i}`)).toBe(`message ${i}`);
        }
      });
      expect(await databaseNames(keys)).toEqual(['matrix-sdk-crypto', META]);
    }
    expect(new Set(seen).size).toBe(1);
    expect(new Set(messages.map(({ session_id: id }) => id)).size).toBe(1);
  });

  it('is recognized where it was killed before it had an account', async () => {
    await using keys = await open();
    const handle = await keys.openDevice(device);
    const schema = { version: 1, stores: [{ name: 'matrix-sdk-crypto', keyPath: null, indexes: [] }] };
    const records = [{ store: 'matrix-sdk-crypto', key: 'other', present: { value: 1 } }];
    await handle.commit([[META, { schema, records }]]);
    await handle.release();
    const store = await cryptoStoreOn(keys);
    expect((await store.openUser(device)).storageKey).toHaveLength(32);
    await store.close();
  });

  it('opens as a client', async () => {
    await using keys = await open();
    let identity = '';
    await createSealedBySdk(keys, device, async (machine) => {
      identity = machine.identityKeys.ed25519.toBase64();
    });
    const store = await cryptoStoreOn(keys);
    const published = { keys: { [`ed25519:${device.deviceId}`]: identity } };
    const answers = { device_keys: { [device.userId]: { [device.deviceId]: published } } };
    const matrixClient = clientWith({ '/keys/query': answers }, device.userId, device.deviceId);
    const { shutDown } = await encrypt({ matrixClient, store: await store.openUser(device) });
    expect((await matrixClient.getCrypto()?.getOwnDeviceKeys())?.ed25519).toBe(identity);
    await shutDown();
    matrixClient.stopClient();
    await store.close();
  });
});

describe('the key file', () => {
  it.each(['new', 'sealed by the SDK'])('shows nothing of the keys of a device: %s', async (kind) => {
    const folder = join(temporaryFolder(), 'keys');
    mkdirSync(folder);
    const path = join(folder, 'keys.sqlite');
    const keys = SqliteKeyStore.open({ clock: systemClock, logger: silentLogger }, { path, secret });
    const search = new FileSearch();
    const fill = async (machine: OlmMachine): Promise<void> => {
      const { session_id: sessionId } = await encryptMessage(machine, 'a message that nobody reads');
      const exported = JSON.parse(await machine.exportRoomKeys(() => true)) as { readonly session_key: string }[];
      expect(exported).toHaveLength(1);
      for (const { session_key: roomKey } of exported) {
        const bytes = Buffer.from(roomKey, 'base64');
        search.bytes('room key', bytes);
        search.bytes('ratchet', bytes.subarray(5, 133));
      }
      search.key('session id', sessionId);
      search.key('identity key', machine.identityKeys.ed25519.toBase64());
      search.key('identity key', machine.identityKeys.curve25519.toBase64());
    };
    await (kind === 'new' ? withMachine(keys, fill) : createSealedBySdk(keys, device, fill));
    search.text('room id', roomId);
    for (const name of ['matrix-sdk-crypto', 'inbound_group_sessions3', 'm.megolm.v1', 'one_time_keys', 'a message']) {
      search.text('name in a record', name);
    }
    expect(search.blindFor()).toEqual([]);
    expect(search.in(folder).found).toEqual([]); // with the log as it is while the file is open
    await keys.close();
    expect(search.in(folder).found).toEqual([]);
    // User and device ids stand in the table of devices, once for the row and once for its index. Nowhere else.
    const occurrences = allBytes(folder).toString('latin1').split(device.deviceId).length - 1;
    expect(occurrences).toBe(2);
  });

  it('is refused by earlier releases, which would seal new devices again, and not changed by them', async () => {
    const path = join(temporaryFolder(), 'keys.sqlite');
    const context = { clock: systemClock, logger: silentLogger };
    const options = { ...context, path, secret, onCorruption: () => {} };
    const earlier = {
      ...cryptoLayout,
      migrations: cryptoLayout.migrations.slice(0, 2),
      probes: cryptoLayout.probes.slice(0, 2),
    };
    openDatabase(options, earlier).close();
    expect(query(path, 'PRAGMA user_version')).toEqual([{ user_version: 2 }]);
    await SqliteKeyStore.open(context, { path, secret }).close();
    expect(query(path, 'PRAGMA user_version')).toEqual([{ user_version: 3 }]);
    const before = readFileSync(path);
    expect(() => openDatabase(options, earlier)).toThrow(
      expect.objectContaining({
        code: 'STORAGE',
        message: expect.stringContaining('has schema version 3, but this release supports versions up to 2'),
      }),
    );
    expect(readFileSync(path).equals(before)).toBe(true);
  });
});
