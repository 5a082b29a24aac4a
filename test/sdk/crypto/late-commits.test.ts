import * as sdk from '@matrix-org/matrix-sdk-crypto-wasm';
import { expect, it } from 'vitest';
import { systemClock } from '../../../src/core/clock.js';
import { nextEventLoopTurn } from '../../../src/core/event-loop.js';
import { silentLogger } from '../../../src/core/logger.js';
import type { CryptoStore } from '../../../src/encryption/store/crypto-store.js';
import { cryptoStoreOn } from '../../encryption/support/crypto-store.js';
import { MemoryKeys } from '../../../src/testing/memory-keys.js';
import { MachineGuard } from '../../../src/sdk/crypto/machine-guard.js';
import { expectEachKeyUsedOnce } from '../../encryption/support/message-index.js';
import { olmMachineOn } from '../../encryption/support/olm-machine.js';

const secret = new Uint8Array(32).fill(7);
const device = { userId: '@alice:x', deviceId: 'DEVICE' };
const LIVES = 10;
const rooms = ['!a:x', '!b:x', '!c:x'];

interface Sealed {
  readonly roomId: string;
  readonly content: { readonly session_id: string; readonly ciphertext: string };
}

it('what a device has given out while its commits are slow rests on stored keys, at whatever moment it is killed', async () => {
  const data = new MemoryKeys();
  const given: Sealed[] = [];
  for (let life = 0; life < LIVES; life++) {
    const store = await cryptoStoreOn(await data.open(secret));
    const keys = await store.openUser(device);
    const machine = await guardedMachine(keys);
    const before = given.length;
    const ended = new AbortController();
    for (const roomId of rooms) void sealWithoutEnd(machine, roomId, ended.signal, given).catch(() => {});
    if (life % 2 === 0) void syncWithoutEnd(machine, ended.signal).catch(() => {});
    while (given.length < before + 1 + life) await nextEventLoopTurn();
    for (let turn = 0; turn < life * 3; turn++) await nextEventLoopTurn();
    data.kill();
    ended.abort();
    await store.close();
  }
  expectEachKeyUsedOnce(given.map(({ content }) => content));
  await using store = await cryptoStoreOn(await data.open(secret));
  const machine = await guardedMachine(await store.openUser(device));
  for (const [n, { roomId, content }] of given.entries()) {
    const event = { type: 'm.room.encrypted', event_id: `$${n}`, sender: '@alice:x', origin_server_ts: n, content };
    const settings = new sdk.DecryptionSettings(sdk.TrustRequirement.Untrusted);
    const reading = machine.decryptRoomEvent(JSON.stringify(event), new sdk.RoomId(roomId), settings);
    await expect(reading).resolves.toBeDefined();
  }
});

async function guardedMachine(keys: Awaited<ReturnType<CryptoStore['openUser']>>): Promise<sdk.OlmMachine> {
  const machine = await olmMachineOn(keys);
  const context = { clock: systemClock, logger: silentLogger };
  const options = { userId: device.userId, callTimeoutMs: 30_000 };
  expect(new MachineGuard(context, machine, { ...options, onFault: () => {}, store: keys })).toBeInstanceOf(
    MachineGuard,
  );
  return machine;
}

/** Each sync holds back the changes that come meanwhile, and stores them together. */
async function syncWithoutEnd(machine: sdk.OlmMachine, ended: AbortSignal): Promise<void> {
  for (let n = 0; !ended.aborted; n++) {
    const counts = new Map([['signed_curve25519', 50 - (n % 2)]]);
    await machine.receiveSyncChanges('[]', new sdk.DeviceLists(), counts);
    await nextEventLoopTurn();
  }
}

/** Notes each event when the machine has given it out: from then on it may have been sent. */
async function sealWithoutEnd(
  machine: sdk.OlmMachine,
  room: string,
  ended: AbortSignal,
  given: Sealed[],
): Promise<void> {
  const settings = new sdk.EncryptionSettings();
  settings.rotationPeriodMessages = 15n;
  for (let n = 0; !ended.aborted; n++) {
    await machine.shareRoomKey(new sdk.RoomId(room), [new sdk.UserId(device.userId)], settings);
    const sealed = await machine.encryptRoomEvent(new sdk.RoomId(room), 'm.room.message', `{"body":"${n}"}`);
    given.push({ roomId: room, content: JSON.parse(sealed) as Sealed['content'] });
  }
}
