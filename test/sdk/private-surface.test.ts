import type { MatrixClient } from 'matrix-js-sdk';
import { SyncApi } from 'matrix-js-sdk/lib/sync.js';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import packageJson from '../../package.json' with { type: 'json' };
import { cryptoBackend } from '../../src/sdk/crypto/crypto-backend.js';
import {
  assertClientSurface,
  examinedSdk,
  missingClientParts,
  missingCryptoParts,
} from '../../src/sdk/private-surface.js';
import { clientWith } from '../encryption/support/encrypted-client.js';

let client: MatrixClient;
beforeAll(async () => {
  client = clientWith();
  await client.initRustCrypto({ useIndexedDB: false });
});
afterAll(async () => {
  await cryptoBackend(client).backupManager.keyBackupCheckInProgress; // stopped before, its rejection is unhandled
  client.stopClient();
});

/** The client with other values in the places named. */
function clientBut(values: Readonly<Record<string, unknown>>): MatrixClient {
  const properties = Object.entries(values).map(([name, value]) => [name, { value }]);
  return Object.create(client, Object.fromEntries(properties) as PropertyDescriptorMap) as MatrixClient;
}

describe('the private parts of matrix-js-sdk that the library stands on', () => {
  it('are those of the release line that package.json asks for', () => {
    expect(packageJson.dependencies['matrix-js-sdk']).toBe(examinedSdk);
  });

  it('are all there in the installed version', () => {
    expect(missingClientParts(client)).toEqual([]);
    expect(missingCryptoParts(client)).toEqual([]);
  });

  it('are reported by name where a version lacks them', () => {
    const lacking = clientBut({ http: { abort() {} }, matrixRTC: null, setPushRules: 'no method' });
    expect(missingClientParts(lacking)).toEqual([
      'MatrixClient.http.authedRequest()',
      'MatrixClient.matrixRTC.start()',
      'MatrixClient.setPushRules()',
    ]);
    const { backupManager } = cryptoBackend(client);
    const crypto = Object.create(client.getCrypto() as object, {
      backupManager: { value: Object.create(backupManager, { backupKeysLoop: { value: undefined } }) },
    }) as object;
    expect(missingCryptoParts(clientBut({ getCrypto: () => crypto }))).toEqual([
      'RustCrypto.backupManager.backupKeysLoop()',
    ]);
  });

  it.each(['mapSyncResponseToRoomArray', 'injectRoomEvents'])(
    'are looked for in the SyncApi as well, which the client makes at its start only (%s)',
    (name) => {
      const part = Object.getOwnPropertyDescriptor(SyncApi.prototype, name) as PropertyDescriptor;
      Reflect.deleteProperty(SyncApi.prototype, name);
      try {
        expect(missingClientParts(client)).toEqual([`SyncApi.${name}()`]);
      } finally {
        Object.defineProperty(SyncApi.prototype, name, part);
      }
    },
  );

  it('refuse to start a client on a version that lacks one, and say which version to install', () => {
    expect(() => assertClientSurface(clientBut({ cachedRtcTransports: {} }))).toThrow(
      expect.objectContaining({
        code: 'UNSUPPORTED',
        message: expect.stringMatching(/lacks MatrixClient\.cachedRtcTransports\.start\(\).*~43\.0\.0/) as string,
      }) as Error,
    );
    expect(() => assertClientSurface(client)).not.toThrow();
  });
});
