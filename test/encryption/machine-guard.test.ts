import { copyFileSync, existsSync } from 'node:fs';
import { join } from 'node:path';
import * as sdk from '@matrix-org/matrix-sdk-crypto-wasm';
import { describe, expect, it, onTestFinished } from 'vitest';
import { systemClock } from '../../src/core/clock.js';
import { silentLogger } from '../../src/core/logger.js';
import { CryptoStore } from '../../src/encryption/crypto-store.js';
import type { DeviceStore } from '../../src/encryption/device-store.js';
import { MachineGuard } from '../../src/encryption/machine-guard.js';
import { turnOfTheEventLoop } from '../../src/core/event-loop.js';
import { temporaryFolder } from '../storage/temporary-folder.js';
import { olmMachineOn } from './support/olm-machine.js';

const secret = new Uint8Array(32).fill(7);
const roomId = '!r:x';
const [alice, bob] = ['@alice:x', '@bob:x'];

function guard(machine: object, store: { hold(): void; release(): void }): MachineGuard {
  const onFault = (): void => {};
  const options = { userId: bob, clock: systemClock, logger: silentLogger, callTimeoutMs: 30_000 };
  return new MachineGuard(machine, { ...options, onFault, store });
}

describe('a room key that comes in the first message between two devices', () => {
  it('is not lost by a kill after its Olm session was stored', async () => {
    const path = join(temporaryFolder(), 'keys.sqlite');
    const copies: string[] = [];
    const state = { receives: false };
    const copy = (): void => {
      const to = join(temporaryFolder(), 'keys.sqlite');
      for (const end of ['', '-wal', '.counters']) if (existsSync(path + end)) copyFileSync(path + end, to + end);
      copies.push(to);
    };
    const { keys } = await open(path, bob, () => state.receives && copy());
    const machine = await guarded(keys);
    const { toDevice, event } = await firstMessage(machine);
    state.receives = true;
    copy();
    await receive(machine, toDevice);
    expect(await textOf(machine, event)).toBe('hello');
    expect(copies.length).toBeGreaterThan(1);
    for (const copied of copies) {
      const { keys } = await open(copied, bob);
      const resumed = await guarded(keys);
      await receive(resumed, toDevice); // the homeserver sends it again
      expect(await textOf(resumed, event)).toBe('hello');
    }
  });
});

describe('a call that ends while a sync is taken in', () => {
  class Machine {
    readonly sync = Promise.withResolvers<string>();
    receiveSyncChanges(): Promise<string> {
      return this.sync.promise;
    }
    async encryptRoomEvent(): Promise<string> {
      return 'sealed';
    }
    async shareRoomKey(): Promise<string> {
      return 'shared';
    }
    close(): void {}
  }

  function start(release: () => void) {
    const machine = new Machine();
    const said: string[] = [];
    guard(machine, { hold: () => said.push('hold'), release });
    const note = (name: string, call: Promise<string>): void => {
      call.then(
        (answer) => said.push(`${name}: ${answer}`),
        (error: unknown) => said.push(`${name}: ${String(error)}`),
      );
    };
    note('sync', machine.receiveSyncChanges());
    note('encrypt', machine.encryptRoomEvent());
    note('share', machine.shareRoomKey());
    return { machine, said };
  }

  it('answers when what it may rest on is stored', async () => {
    const { machine, said } = start(() => said.push('release'));
    await turnOfTheEventLoop();
    expect(said).toEqual(['hold']);
    machine.sync.resolve('taken in');
    await turnOfTheEventLoop();
    expect(said.slice(0, 2)).toEqual(['hold', 'release']);
    expect(said.slice(2).toSorted()).toEqual(['encrypt: sealed', 'share: shared', 'sync: taken in']);
    await machine.encryptRoomEvent();
    expect(said).toHaveLength(5);
  });

  it('gives nothing out that could not be stored', async () => {
    const { machine, said } = start(() => {
      throw new Error('disk full');
    });
    machine.sync.resolve('taken in');
    await turnOfTheEventLoop();
    expect(said.toSorted()).toEqual(['encrypt: Error: disk full', 'hold', 'sync: Error: disk full']);
  });
});

async function open(path: string, userId: string, onCommit: () => void = () => {}) {
  const store = await CryptoStore.open({ path, secret, onCommit });
  onTestFinished(() => store.close());
  return { store, keys: await store.openUser({ userId, deviceId: userId === bob ? 'B' : 'A' }) };
}

async function guarded(keys: DeviceStore): Promise<sdk.OlmMachine> {
  const machine = await olmMachineOn(keys);
  guard(machine, keys);
  return machine;
}

/** What the homeserver has for Bob when Alice's device, which has never talked to his, has sent its first message. */
async function firstMessage(bobs: sdk.OlmMachine): Promise<{ toDevice: object; event: object }> {
  const { keys } = await open(':memory:', alice);
  const machine = await olmMachineOn(keys);
  const published = await publish(bobs);
  const users = (): sdk.UserId[] => [new sdk.UserId(bob)];
  await machine.updateTrackedUsers(users());
  const query = machine.queryKeysForUsers(users());
  await machine.markRequestAsSent(
    query.id,
    query.type,
    JSON.stringify({ device_keys: { [bob]: { B: published.device_keys } } }),
  );
  const claim = await machine.getMissingSessions(users());
  const [oneTimeKey] = Object.entries(published.one_time_keys);
  const claimed = { one_time_keys: { [bob]: { B: Object.fromEntries([oneTimeKey ?? []]) } } };
  if (claim) await machine.markRequestAsSent(claim.id, claim.type, JSON.stringify(claimed));
  const [share] = await machine.shareRoomKey(new sdk.RoomId(roomId), users(), new sdk.EncryptionSettings());
  const { messages } = JSON.parse(share?.body ?? '') as { messages: Record<string, Record<string, object>> };
  const content = await machine.encryptRoomEvent(new sdk.RoomId(roomId), 'm.room.message', '{"body":"hello"}');
  const sealed = { type: 'm.room.encrypted', event_id: '$e', sender: alice, room_id: roomId, origin_server_ts: 1 };
  return {
    toDevice: { type: share?.event_type, sender: alice, content: messages[bob]?.['B'] },
    event: { ...sealed, content: JSON.parse(content) as object },
  };
}

async function publish(machine: sdk.OlmMachine) {
  const requests = await machine.outgoingRequests();
  const upload = requests.find(({ type }) => type === sdk.RequestType.KeysUpload) as sdk.KeysUploadRequest;
  await machine.markRequestAsSent(upload.id, upload.type, '{"one_time_key_counts":{"signed_curve25519":50}}');
  return JSON.parse(upload.body) as { device_keys: object; one_time_keys: Record<string, object> };
}

async function receive(machine: sdk.OlmMachine, toDevice: object): Promise<void> {
  await machine.receiveSyncChanges(
    JSON.stringify([toDevice]),
    new sdk.DeviceLists(),
    new Map([['signed_curve25519', 49]]),
  );
}

async function textOf(machine: sdk.OlmMachine, event: object): Promise<unknown> {
  const settings = new sdk.DecryptionSettings(sdk.TrustRequirement.Untrusted);
  const decrypted = await machine.decryptRoomEvent(JSON.stringify(event), new sdk.RoomId(roomId), settings);
  return (JSON.parse(decrypted.event) as { content: { body: unknown } }).content.body;
}
