import type { OlmMachine } from '@matrix-org/matrix-sdk-crypto-wasm';
import { cpSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import type { MatrixClientManager } from '../../src/index.js';
import { systemClock } from '../../src/index.js';
import { FakeHomeserver } from '../../src/testing/fake-homeserver/fake-homeserver.js';
import { ManualClock } from '../../src/testing/manual-clock.js';
import { runChild } from '../storage/children/run-child.js';
import { advanceUntil } from '../support/advance-until.js';
import { Recorder } from '../support/recorder.js';
import { rejection } from '../support/rejection.js';
import { identityOf, told } from './support/device-lives.js';
import { Deployment, encryptedRoom } from './support/encrypted-chats.js';
import { panic } from './support/olm-machine.js';

const secret = new Uint8Array(32).fill(7);

interface SyncAnswer {
  to_device?: { events: unknown[] };
}

/** A homeserver that keeps messages to devices back until they are let go: room keys come after their messages. */
function withLateKeys() {
  const fake = new FakeHomeserver();
  const heldOf = new Map<string, unknown[]>();
  const late = { hold: false };
  const fetch: typeof globalThis.fetch = async (input, init) => {
    const response = await fake.fetch(input, init);
    const url = new URL(input instanceof Request ? input.url : input);
    if (!url.pathname.endsWith('/v3/sync') || !response.ok) return response;
    const answer = (await response.json()) as SyncAnswer;
    const events = answer.to_device?.events ?? [];
    const token = new Headers(init?.headers).get('authorization') ?? '';
    const held = heldOf.get(token) ?? [];
    heldOf.set(token, held);
    if (late.hold) held.push(...events);
    const given = late.hold ? [] : [...held.splice(0), ...events];
    return Response.json({ ...answer, to_device: { events: given } });
  };
  const { baseUrl, serverName, admin } = fake;
  return { target: { baseUrl, serverName, admin, fetch }, late };
}

async function inARoom(deployment: Deployment, manager: MatrixClientManager) {
  const [alice, bob] = [await deployment.user(manager), await deployment.user(manager)];
  const inbox = new Recorder();
  await manager.startClient({ userId: alice });
  await manager.startClient({ userId: bob, callbacks: [inbox.callback] });
  const roomId = await encryptedRoom(manager, [alice, bob]);
  const say = (text: string, room = roomId) => manager.sendMessage({ userId: alice, roomId: room, text });
  return { alice, bob, inbox, roomId, say };
}

describe('a message whose key has not come', () => {
  it('waits for it, and holds up its room only', async () => {
    const { target, late } = withLateKeys();
    const deployment = new Deployment(target);
    const manager = deployment.start();
    const { alice, bob, inbox, roomId, say } = await inARoom(deployment, manager);
    const other = await manager.withClient(alice, (client) => client.createRoom({ invite: [bob] }));
    await manager.withClient(bob, (client) => client.joinRoom(other.room_id));
    late.hold = true;
    await say('first');
    await manager.sendMessage({ userId: alice, roomId, type: 'm.reaction', content: { body: 'not encrypted' } });
    await say('elsewhere', other.room_id);
    await inbox.message('elsewhere');
    expect(inbox.bodies(roomId)).toEqual([]);
    expect(inbox.events.filter((event) => event.type === 'reaction')).toEqual([]);
    late.hold = false;
    await say('second');
    await inbox.message('second');
    const after = inbox.events.filter((event) => event.roomId === roomId && 'content' in event && event.content.body);
    expect(after.map((event) => 'content' in event && event.content.body)).toEqual([
      'first',
      'not encrypted',
      'second',
    ]);
  });

  it('is delivered as undecryptable after the time limit, once, and readable on pages when the key comes', async () => {
    const { target, late } = withLateKeys();
    const deployment = new Deployment(target);
    const encryption = { path: deployment.cryptoPath, secret: secret, decryptionTimeoutMs: 20 };
    const manager = deployment.start({ encryption });
    const { bob, inbox, roomId, say } = await inARoom(deployment, manager);
    late.hold = true;
    const { eventId } = await say('too early');
    const event = await inbox.first((event) => 'eventId' in event && event.eventId === eventId);
    expect(event).toMatchObject({
      type: 'message',
      eventType: 'm.room.encrypted',
      encrypted: true,
      decryption: { state: 'failed', reason: 'missing-key' },
    });
    const page = () => manager.getRoomMessages({ roomId, userId: bob, limit: 2 });
    expect((await page()).messages[0]).toMatchObject({ eventId, decryption: { state: 'failed' } });
    late.hold = false;
    await say('in time');
    await inbox.message('in time');
    expect((await page()).messages[1]).toMatchObject({ eventId, content: { body: 'too early' } });
    expect(inbox.events.filter((event) => 'eventId' in event && event.eventId === eventId)).toHaveLength(1);
    expect(manager.stats().decryptions).toMatchObject({ decrypted: 1, 'missing-key': 1 });
  });

  it('waits beyond the time limit while the homeserver holds further messages to the device', async () => {
    const deployment = new Deployment(new FakeHomeserver());
    const encryption = { path: deployment.cryptoPath, secret, decryptionTimeoutMs: 0 };
    const manager = deployment.start({ encryption });
    const { alice, bob, inbox, say } = await inARoom(deployment, manager);
    const deviceId = manager.clientInfo(bob)?.deviceId ?? '';
    await manager.stopClient(bob);
    await manager.withClient(alice, async (client) => {
      const queued = new Map([[bob, new Map([[deviceId, {}]])]]);
      const sending = Array.from({ length: 120 }, () => client.sendToDevice('org.example.queued', queued));
      await Promise.all(sending);
    });
    const { eventId } = await say('its key comes with a second sync');
    await manager.startClient({ userId: bob });
    const event = await inbox.first((event) => 'eventId' in event && event.eventId === eventId);
    expect(event).toMatchObject({ decryption: { state: 'decrypted' } });
  });

  it('comes again with the next start, when the client was stopped while it waited', async () => {
    const { target, late } = withLateKeys();
    const deployment = new Deployment(target);
    const manager = deployment.start();
    const { bob, inbox, roomId, say } = await inARoom(deployment, manager);
    late.hold = true;
    await say('first');
    await say('second');
    await manager.stopClient(bob);
    late.hold = false;
    await manager.startClient({ userId: bob });
    await inbox.message('second');
    expect(inbox.bodies(roomId)).toEqual(['first', 'second']);
  });
});

describe('a device whose keys cannot go on', () => {
  const keyFiles = (folder: string) => readdirSync(folder).filter((name) => name.startsWith('keys.sqlite'));

  it.each([
    ['were lost', (name: string) => !name.includes('counters'), undefined, 'ENCRYPTION_STORE_ROLLED_BACK'],
    ['were lost with their counters', () => true, undefined, 'ENCRYPTION_STORE_ROLLED_BACK'],
    ['were put back from a copy', (name: string) => !name.includes('counters'), 'copy', 'ENCRYPTION_STORE_ROLLED_BACK'],
  ])('because they %s gives way to a new one', async (_what, concerns, putBack, code) => {
    const deployment = new Deployment(new FakeHomeserver());
    const { folder } = deployment;
    const manager = deployment.start();
    const { alice, bob, inbox, say } = await inARoom(deployment, manager);
    await say('read');
    await inbox.message('read');
    await manager.stopClient(bob);
    await manager.shutdown();
    const files = keyFiles(folder).filter(concerns);
    for (const name of files) cpSync(join(folder, name), join(folder, `copy-${name}`));
    const second = deployment.start();
    const third = new Recorder();
    await second.startClient({ userId: bob, callbacks: [third.callback] });
    await second.sendMessage({ userId: bob, roomId: inbox.events[0]?.roomId ?? '', text: 'uses keys' });
    await second.sendMessage({ userId: alice, roomId: inbox.events[0]?.roomId ?? '', text: 'uses keys too' });
    const old = second.clientInfo(bob)?.deviceId;
    await second.shutdown();
    for (const name of files) {
      rmSync(join(folder, name));
      if (putBack) cpSync(join(folder, `copy-${name}`), join(folder, name));
    }

    // What was sent to the old device only is given up soon.
    const last = deployment.start({ encryption: { path: deployment.cryptoPath, secret, decryptionTimeoutMs: 20 } });
    const replaced: unknown[] = [];
    last.on('deviceReplaced', (event) => replaced.push(event));
    const again = new Recorder();
    await last.startClient({ userId: bob, callbacks: [again.callback] });
    const deviceId = last.clientInfo(bob)?.deviceId;
    expect(deviceId).not.toBe(old);
    expect(replaced).toEqual([
      { userId: bob, deviceId, oldDeviceId: old, error: expect.objectContaining({ code, userId: bob }) },
    ]);
    await last.sendMessage({ userId: alice, roomId: inbox.events[0]?.roomId ?? '', text: 'to the new device' });
    await again.message('to the new device');
  });

  it('because it was deleted, and logged in again under its id, gives way to a new one', async () => {
    const deployment = new Deployment(new FakeHomeserver());
    const manager = deployment.start();
    const { bob, inbox, say } = await inARoom(deployment, manager);
    const old = manager.clientInfo(bob)?.deviceId ?? '';
    const replaced: unknown[] = [];
    manager.on('deviceReplaced', (event) => replaced.push(event));
    await manager.stopClient(bob);
    await manager.admin.deleteDevice(bob, old);
    await manager.startClient({ userId: bob });
    const deviceId = manager.clientInfo(bob)?.deviceId;
    expect(replaced).toMatchObject([{ oldDeviceId: old, deviceId, error: { code: 'ENCRYPTION_DEVICE_MISMATCH' } }]);
    await say('to the new device');
    await inbox.message('to the new device');
  });

  it('is not replaced where nobody can log the user in: the start says why', async () => {
    const fake = new FakeHomeserver();
    const deployment = new Deployment(fake);
    const manager = deployment.start();
    const bob = await deployment.user(manager);
    await manager.startClient({ userId: bob });
    await manager.shutdown();
    for (const name of keyFiles(deployment.folder)) rmSync(join(deployment.folder, name));
    const next = deployment.start({ admin: undefined as never, serverName: fake.serverName });
    expect((await rejection(next.startClient({ userId: bob }))).code).toBe('ENCRYPTION_STORE_ROLLED_BACK');
    expect(next.clientInfo(bob)).toBeUndefined();
  });
});

describe('a fault of the crypto library', () => {
  it('ends its own client only, with a coded error, and the next start works', async () => {
    const deployment = new Deployment(new FakeHomeserver());
    // The time for one call of the library, cut short.
    const clock = {
      ...systemClock,
      setTimeout: (run: () => void, ms: number) => systemClock.setTimeout(run, ms === 30_000 ? 500 : ms),
    };
    const encryption = { path: deployment.cryptoPath, secret, decryptionTimeoutMs: 29_000 };
    const manager = deployment.start({ clock, requestTimeoutMs: 29_000, encryption });
    const { alice, bob, inbox, roomId, say } = await inARoom(deployment, manager);
    const stopped = new Promise((resolve) => manager.on('clientStopped', resolve));
    await manager.withClient(bob, (client) => {
      const { olmMachine } = client.getCrypto() as unknown as { olmMachine: OlmMachine };
      panic(olmMachine).catch(() => {});
    });
    expect(await stopped).toMatchObject({ userId: bob, reason: 'failed', error: { code: 'CLIENT_FAILED' } });
    expect(manager.clientInfo(alice)?.state).toBe('live');
    await say('while it was down');
    await manager.startClient({ userId: bob });
    await inbox.message('while it was down');
    expect(inbox.bodies(roomId)).toEqual(['while it was down']);
  });
});

describe('a device whose user is idle', () => {
  it('sleeps, and wakes with its keys and what was sent meanwhile, in order', async () => {
    const clock = new ManualClock();
    const fake = new FakeHomeserver({ clock });
    const deployment = new Deployment(fake);
    const manager = deployment.start({ clock, idleTimeoutMs: 60_000, sweepIntervalMs: 10_000 });
    const soon = <T>(work: Promise<T>): Promise<T> => advanceUntil(clock, work, { stepMs: 1 });
    const { alice, bob, inbox, roomId, say } = await soon(inARoom(deployment, manager));
    await soon(say('awake').then(() => inbox.message('awake')));
    const identity = await soon(identityOf(manager, bob));
    const stopped = told(manager, 'clientStopped');
    const texts = ['awake'];
    for (let night = 0; night < 2; night++) {
      while (manager.hasClient(bob)) await clock.advance(5_000);
      await soon(manager.stopClient(bob)); // waits for the stop that runs: the clock must not pass its time limits
      expect(stopped.every(({ reason, error }) => reason === 'idle' && !error)).toBe(true);
      for (let n = 0; n < 3; n++) {
        texts.push(`night ${night}, ${n}`);
        await soon(say(texts.at(-1) ?? ''));
        if (n === 1) await soon(manager.withClient(alice, (client) => client.getCrypto()?.forceDiscardSession(roomId)));
      }
      expect(manager.hasClient(bob)).toBe(false);
      await soon(manager.startClient({ userId: bob }).then(() => inbox.message(texts.at(-1) ?? '')));
      expect(inbox.bodies(roomId)).toEqual(texts);
      expect(await soon(identityOf(manager, bob))).toEqual(identity);
    }
    await soon(manager.shutdown());
  });
});

describe('a crypto store that is in use', () => {
  it('is refused to another manager and another process, with what to do, and its user goes on', async () => {
    const fake = new FakeHomeserver();
    const deployment = new Deployment(fake);
    const manager = deployment.start();
    const { bob, inbox, say } = await inARoom(deployment, manager);
    const elsewhere = new Deployment(fake);
    const other = elsewhere.start({ encryption: { path: deployment.cryptoPath, secret } });
    const carol = await elsewhere.user(other);
    for (let attempt = 0; attempt < 2; attempt++) {
      const error = await rejection(other.startClient({ userId: carol }));
      expect(error).toMatchObject({
        code: 'STORAGE_LOCKED',
        message: expect.stringMatching(/keys\.sqlite is in use by another.*close the other one first/),
      });
    }
    expect(await runChild('../../encryption/children/hold.ts', [deployment.cryptoPath]).end()).toEqual([
      'STORAGE_LOCKED',
    ]);
    await say('undisturbed');
    await inbox.message('undisturbed');
    const identity = await identityOf(manager, bob);
    await manager.shutdown();
    await other.startClient({ userId: carol });
    await other.shutdown();
    const next = deployment.start();
    expect(await identityOf(next, bob)).toEqual(identity);
  });
});
