import { expect, it } from 'vitest';
import type { CryptoBackend } from '../../../src/sdk/crypto/crypto-backend.js';
import { KEYS_QUERY } from '../../../src/sdk/crypto/crypto-backend.js';
import { KeyResponses } from '../../../src/sdk/crypto/key-responses.js';
import { keysOfNewDevice } from '../../encryption/support/olm-machine.js';

it.each([['junk'], [1], [null], [['junk']]])(
  'accepts the devices of others in a response with %j as the devices of one user',
  async (devices) => {
    const sdk = await import('@matrix-org/matrix-sdk-crypto-wasm');
    await sdk.initAsync();
    const machine = await sdk.OlmMachine.initialize(new sdk.UserId('@me:x'), new sdk.DeviceId('ME'));
    void new KeyResponses(machine as unknown as CryptoBackend['olmMachine']);
    await machine.updateTrackedUsers([new sdk.UserId('@evil:y'), new sdk.UserId('@bob:x')]);
    const upload = JSON.parse(await keysOfNewDevice({ userId: '@bob:x', deviceId: 'BOB' })) as { device_keys: object };
    const query = (await machine.outgoingRequests()).find(({ type }) => type === sdk.RequestType.KeysQuery);
    const answer = { device_keys: { '@evil:y': devices, '@bob:x': { BOB: upload.device_keys } }, failures: {} };
    await machine.markRequestAsSent(query?.id ?? '', KEYS_QUERY, JSON.stringify(answer));
    expect(await machine.getDevice(new sdk.UserId('@bob:x'), new sdk.DeviceId('BOB'))).toBeDefined();
    const again = (await machine.outgoingRequests()).find(({ type }) => type === sdk.RequestType.KeysQuery);
    expect((again as { body?: string } | undefined)?.body ?? '').not.toContain('bob');
    machine.close();
  },
);
