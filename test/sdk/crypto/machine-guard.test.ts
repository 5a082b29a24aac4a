import { copyFileSync, existsSync } from 'node:fs';
import { join } from 'node:path';
import * as sdk from '@matrix-org/matrix-sdk-crypto-wasm';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { systemClock } from '../../../src/core/clock.js';
import type { Clock } from '../../../src/core/clock.js';
import { silentLogger } from '../../../src/core/logger.js';
import { openCryptoStore } from '../../encryption/support/crypto-store.js';
import type { DeviceStore } from '../../../src/encryption/store/device-store.js';
import { MachineGuard } from '../../../src/sdk/crypto/machine-guard.js';
import { nextEventLoopTurn } from '../../../src/core/event-loop.js';
import { ManualClock } from '../../../src/testing/manual-clock.js';
import { temporaryFolder } from '../../storage/temporary-folder.js';
import { olmMachineOn } from '../../encryption/support/olm-machine.js';

const secret = new Uint8Array(32).fill(7);
const roomId = '!r:x';
const [alice, bob] = ['@alice:x', '@bob:x'];

type GuardedStore = Pick<DeviceStore, 'collect' | 'endCollecting' | 'flush'>;

function guard(
  machine: object,
  store: GuardedStore,
  { clock = systemClock, ...settings }: { readonly clock?: Clock } & object = {},
): MachineGuard {
  const options = { onFault: () => {}, userId: bob, callTimeoutMs: 30_000, ...settings };
  return new MachineGuard({ clock, logger: silentLogger }, machine, { ...options, store });
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
    const sender = await guarded((await open(':memory:', alice)).keys);
    await meet(sender, bob, 'B', await publish(machine)); // they have never talked before
    const toDevice = [await share(sender, bob, 'B')];
    const event = await say(sender, 'hello');
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

describe('a room key that is shared again later on', () => {
  it('does not take the place of the first one, where both come with one sync', async () => {
    const a = await guarded((await open(':memory:', alice)).keys);
    const b = await guarded((await open(':memory:', bob)).keys);
    const [keysOfA, keysOfB] = [await publish(a), await publish(b)];
    await meet(a, bob, 'B', keysOfB);
    await meet(b, alice, 'A', keysOfA);
    const first = await share(a, bob, 'B');
    const event = await say(a, 'hello');
    await receive(a, [await share(b, alice, 'A')]); // Bob was as quick: Alice cannot tell which session he will use
    const again = await share(a, bob, 'B');
    await receive(b, [first, again]);
    expect(await textOf(b, event)).toBe('hello');
  });
});

class Machine {
  sync = Promise.withResolvers<string[]>();
  receiveSyncChanges(_toDeviceEvents: string, _deviceLists: object): Promise<string[]> {
    return this.sync.promise;
  }
  async encryptRoomEvent(): Promise<string> {
    return 'sealed';
  }
  async shareRoomKey(): Promise<string> {
    return 'shared';
  }
  slow = Promise.withResolvers<string>();
  getDevice(): Promise<string> {
    return this.slow.promise;
  }
  close(): void {}
}

/** A guarded machine. `said` has what the store was asked and what the calls answered. */
function startMachine(store: Partial<GuardedStore>, settings?: object) {
  const machine = new Machine();
  const said: string[] = [];
  const guarded = guard(machine, { collect() {}, endCollecting() {}, flush: () => undefined, ...store }, settings);
  const note = (name: string, call: Promise<string | string[]>): void => {
    call.then(
      (answer) => said.push(`${name}: ${String(answer)}`),
      (error: unknown) => said.push(`${name}: ${String(error)}`),
    );
  };
  return { machine, said, note, guarded };
}

describe('a call that ends while a sync is taken in', () => {
  function start(flush: (said: string[]) => Promise<void>) {
    const started = startMachine({ flush: () => flush(started.said) });
    const { machine, note } = started;
    note('sync', machine.receiveSyncChanges('[]', {}));
    note('encrypt', machine.encryptRoomEvent());
    note('share', machine.shareRoomKey());
    return started;
  }

  it('answers when what it may rest on is stored', async () => {
    const stored = Promise.withResolvers<void>();
    const { machine, said } = start((said) => {
      said.push('flush');
      return stored.promise;
    });
    await nextEventLoopTurn();
    expect(said).toEqual([]);
    machine.sync.resolve(['taken in']);
    await nextEventLoopTurn();
    expect(said).toEqual(['flush']);
    stored.resolve();
    await nextEventLoopTurn();
    expect(said.slice(1).toSorted()).toEqual(['encrypt: sealed', 'share: shared', 'sync: taken in']);
    await machine.encryptRoomEvent();
    expect(said.slice(4)).toEqual(['flush']);
  });

  it('gives nothing out that could not be stored', async () => {
    const { machine, said } = start(() => Promise.reject(new Error('disk full')));
    machine.sync.resolve(['taken in']);
    await nextEventLoopTurn();
    expect(said.toSorted()).toEqual(['encrypt: Error: disk full', 'sync: Error: disk full']);
  });
});

describe('a call that ends while changes of another one are being stored', () => {
  it('answers when they are stored', async () => {
    const stored = Promise.withResolvers<void>();
    const { machine, said, note } = startMachine({ flush: () => stored.promise });
    note('encrypt', machine.encryptRoomEvent());
    note('share', machine.shareRoomKey());
    await nextEventLoopTurn();
    expect(said).toEqual([]);
    stored.resolve();
    await nextEventLoopTurn();
    expect(said.toSorted()).toEqual(['encrypt: sealed', 'share: shared']);
  });

  it('gives nothing out where they could not be stored', async () => {
    const { machine, said, note } = startMachine({ flush: () => Promise.reject(new Error('disk full')) });
    note('encrypt', machine.encryptRoomEvent());
    note('share', machine.shareRoomKey());
    await nextEventLoopTurn();
    expect(said).toEqual(['encrypt: Error: disk full']);
  });

  it('is reported where they take too long, as a call that does not end', async () => {
    const clock = new ManualClock();
    const faults: unknown[] = [];
    const onFault = (error: unknown): void => void faults.push(error);
    const flush = (): Promise<void> => new Promise(() => {});
    const { machine, said, note } = startMachine({ flush }, { clock, callTimeoutMs: 1_000, onFault });
    note('encrypt', machine.encryptRoomEvent());
    await clock.advance(1_000);
    expect(said).toEqual([expect.stringContaining('did not finish encryptRoomEvent')]);
    expect([faults.length, clock.pendingTimers]).toEqual([1, 0]);
  });

  it('is waited for before the machine is closed', async () => {
    const clock = new ManualClock();
    const stored = Promise.withResolvers<void>();
    const { machine, said, note, guarded } = startMachine({ flush: () => stored.promise }, { clock });
    note('encrypt', machine.encryptRoomEvent());
    void guarded.shutDown(5_000, () => []).then(() => said.push('settled'));
    await nextEventLoopTurn();
    await nextEventLoopTurn();
    expect(said).toEqual([]);
    stored.resolve();
    await vi.waitUntil(() => said.length === 2);
    expect(said).toEqual(['encrypt: sealed', 'settled']);
  });

  it('that has several parts begins no further one once the wait for it is over', async () => {
    const clock = new ManualClock();
    const receive = vi.spyOn(Machine.prototype, 'receiveSyncChanges');
    onTestFinished(() => receive.mockRestore());
    const { machine, guarded } = startMachine({}, { clock });
    const messages = [1, 2].map((n) => ({ content: { sender_key: 'same', n } }));
    const received = machine.receiveSyncChanges(JSON.stringify(messages), new Map());
    received.catch(() => {});
    const shutDown = guarded.shutDown(5_000, () => []);
    await clock.advance(5_000);
    await shutDown;
    machine.sync.resolve([]);
    await expect(received).rejects.toMatchObject({ code: 'ABORTED' });
    expect(receive).toHaveBeenCalledTimes(1);
  });
});

describe('the changes of a call', () => {
  it('are collected while it runs, and stored when it ends, however it ends', async () => {
    const said: unknown[] = [];
    const { machine, note } = startMachine({
      collect: () => said.push('collect'),
      endCollecting: () => said.push('endCollecting'),
      flush: () => void said.push('flush'),
    });
    note('slow', machine.getDevice());
    await nextEventLoopTurn();
    expect(said).toEqual(['collect']);
    note('encrypt', machine.encryptRoomEvent());
    await nextEventLoopTurn();
    expect(said.splice(0)).toEqual(['collect', 'collect', 'endCollecting', 'flush']);
    machine.slow.reject(new Error('no such device'));
    await nextEventLoopTurn();
    expect(said).toEqual(['endCollecting', 'flush']);
  });
});

describe('the time of a call', () => {
  function startTimed(store: Partial<GuardedStore>) {
    const clock = new ManualClock();
    const faults: unknown[] = [];
    const onFault = (error: unknown): void => void faults.push(error);
    return { clock, faults, ...startMachine(store, { clock, callTimeoutMs: 1_000, onFault }) };
  }

  it('does not include the wait for a sync that is taken in, nor for the changes to be stored', async () => {
    const stored = Promise.withResolvers<void>();
    const { clock, faults, machine, said, note } = startTimed({ flush: () => stored.promise });
    note('sync', machine.receiveSyncChanges('[]', {}));
    note('encrypt', machine.encryptRoomEvent()); // done at once
    await clock.advance(900);
    machine.sync.resolve(['taken in']);
    await clock.advance(900);
    expect([faults, said.includes('encrypt: sealed')]).toEqual([[], false]);
    stored.resolve();
    await clock.advance(0);
    expect(said.toSorted()).toEqual(['encrypt: sealed', 'sync: taken in']);
    expect([faults, clock.pendingTimers]).toEqual([[], 0]);
  });

  it('begins anew for the changes of other calls', async () => {
    const stored = Promise.withResolvers<void>();
    const { clock, faults, machine, said, note } = startTimed({ flush: () => stored.promise });
    machine.slow = Promise.withResolvers();
    note('slow', machine.getDevice());
    await clock.advance(900);
    machine.slow.resolve('found');
    await clock.advance(900);
    expect([faults, said]).toEqual([[], []]);
    stored.resolve();
    await clock.advance(0);
    expect([said, clock.pendingTimers]).toEqual([['slow: found'], 0]);
  });

  it('begins anew for each part of a sync, which may have thousands', async () => {
    const { clock, faults, machine, said, note } = startTimed({});
    const messages = Array.from({ length: 4 }, () => ({ content: { sender_key: 'of one device' } }));
    note('sync', machine.receiveSyncChanges(JSON.stringify(messages), {}));
    for (let n = 1; n <= 3; n++) {
      await clock.advance(900);
      const { sync } = machine;
      machine.sync = Promise.withResolvers();
      sync.resolve([`${n}`]);
    }
    await clock.advance(999);
    expect([faults, said]).toEqual([[], []]);
    await clock.advance(1);
    expect(said).toEqual([`sync: ${String(faults[0])}`]);
    machine.sync.resolve(['too late']);
    await clock.advance(1_000);
    expect([said.length, faults.length, clock.pendingTimers]).toEqual([1, 1, 0]);
  });

  it('is over for a sync whose changes are not stored', async () => {
    const { clock, faults, machine, said, note } = startTimed({ flush: () => new Promise(() => {}) });
    note('sync', machine.receiveSyncChanges('[]', {}));
    note('encrypt', machine.encryptRoomEvent());
    machine.sync.resolve(['taken in']);
    await clock.advance(1_000);
    const fault = expect.stringContaining('did not finish receiveSyncChanges') as string;
    expect(said.toSorted()).toEqual([`encrypt: ${String(faults[0])}`, `sync: ${String(faults[0])}`]);
    expect(String(faults)).toEqual(fault);
    expect(clock.pendingTimers).toBe(0);
  });

  it('is over for a sync that is not taken in, of which nothing is stored', async () => {
    const flush = vi.fn(async () => {});
    const { clock, faults, machine, said, note } = startTimed({ flush });
    note('sync', machine.receiveSyncChanges('[]', {}));
    note('encrypt', machine.encryptRoomEvent());
    await clock.advance(1_000);
    expect([faults.length, said.length, flush.mock.calls]).toEqual([1, 2, []]);
    machine.sync.resolve(['too late']);
    await clock.advance(1_000);
    expect([said.length, flush.mock.calls, clock.pendingTimers]).toEqual([2, [], 0]);
  });
});

async function open(path: string, userId: string, onCommit: () => void = () => {}) {
  const store = await openCryptoStore({ path, secret, onCommit });
  onTestFinished(() => store.close());
  return { store, keys: await store.openUser({ userId, deviceId: userId === bob ? 'B' : 'A' }) };
}

async function guarded(keys: DeviceStore): Promise<sdk.OlmMachine> {
  const machine = await olmMachineOn(keys);
  guard(machine, keys);
  return machine;
}

/** Lets a machine know the user's device, and begin a session with it. */
async function meet(machine: sdk.OlmMachine, userId: string, deviceId: string, published: Published): Promise<void> {
  const users = (): sdk.UserId[] => [new sdk.UserId(userId)];
  await machine.updateTrackedUsers(users());
  const query = machine.queryKeysForUsers(users());
  const deviceKeys = { device_keys: { [userId]: { [deviceId]: published.device_keys } } };
  await machine.markRequestAsSent(query.id, query.type, JSON.stringify(deviceKeys));
  const claim = (await machine.getMissingSessions(users())) as sdk.KeysClaimRequest;
  const oneTimeKeys = Object.fromEntries(Object.entries(published.one_time_keys).slice(0, 1));
  const claimed = { one_time_keys: { [userId]: { [deviceId]: oneTimeKeys } } };
  await machine.markRequestAsSent(claim.id, claim.type, JSON.stringify(claimed));
}

/** What the homeserver gets for the user's device when the room's key is shared with it. */
async function share(machine: sdk.OlmMachine, userId: string, deviceId: string): Promise<object> {
  const users = [new sdk.UserId(userId)];
  const [request] = await machine.shareRoomKey(new sdk.RoomId(roomId), users, new sdk.EncryptionSettings());
  if (!request) throw new Error('there is nothing to share');
  await machine.markRequestAsSent(request.id, request.type, '{}');
  const { messages } = JSON.parse(request.body) as { messages: Record<string, Record<string, object>> };
  return { type: request.event_type, sender: machine.userId.toString(), content: messages[userId]?.[deviceId] };
}

async function say(machine: sdk.OlmMachine, body: string): Promise<object> {
  const content = await machine.encryptRoomEvent(new sdk.RoomId(roomId), 'm.room.message', JSON.stringify({ body }));
  const envelope = { type: 'm.room.encrypted', event_id: '$e', room_id: roomId, origin_server_ts: 1 };
  return { ...envelope, sender: machine.userId.toString(), content: JSON.parse(content) as object };
}

interface Published {
  readonly device_keys: object;
  readonly one_time_keys: Readonly<Record<string, object>>;
}

async function publish(machine: sdk.OlmMachine): Promise<Published> {
  const requests = await machine.outgoingRequests();
  const upload = requests.find(({ type }) => type === sdk.RequestType.KeysUpload) as sdk.KeysUploadRequest;
  await machine.markRequestAsSent(upload.id, upload.type, '{"one_time_key_counts":{"signed_curve25519":50}}');
  return JSON.parse(upload.body) as Published;
}

async function receive(machine: sdk.OlmMachine, toDevice: readonly object[]): Promise<void> {
  const counts = new Map([['signed_curve25519', 49]]);
  await machine.receiveSyncChanges(JSON.stringify(toDevice), new sdk.DeviceLists(), counts);
}

async function textOf(machine: sdk.OlmMachine, event: object): Promise<unknown> {
  const settings = new sdk.DecryptionSettings(sdk.TrustRequirement.Untrusted);
  const decrypted = await machine.decryptRoomEvent(JSON.stringify(event), new sdk.RoomId(roomId), settings);
  return (JSON.parse(decrypted.event) as { content: { body: unknown } }).content.body;
}
