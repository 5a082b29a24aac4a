import type { expect as vitestExpect, it as vitestIt } from 'vitest';
import type { KeysWithheld, MatrixClientManager } from '../../../src/index.js';
import type { HomeserverTarget } from '../../../src/testing/contracts/homeserver-contract.js';
import type { TrustPolicy } from '../../../src/encryption/identity/identity-options.js';
import { Recorder } from '../../support/recorder.js';
import { WatchedMetrics } from '../../telemetry/watched-metrics.js';
import { Door } from './door.js';
import { Deployment, encryptedRoom } from './encrypted-chats.js';
import { optionsFor } from './hostile-homeserver.js';

const TEST_TIMEOUT_MS = 60_000;
const none = { 'm.unverified': 0, 'm.blacklisted': 0, 'm.no_olm': 0, 'm.unauthorised': 0, 'm.unavailable': 0 };

function eventsOf(manager: MatrixClientManager): KeysWithheld[] {
  const events: KeysWithheld[] = [];
  manager.on('keysWithheld', (event) => events.push(event));
  return events;
}

const newSession = (manager: MatrixClientManager, userId: string, roomId: string) =>
  manager.withClient(userId, (client) => client.getCrypto()?.forceDiscardSession(roomId));

/** Which devices do not get the keys of messages, and who is told. */
export function withheldKeys(
  it: typeof vitestIt,
  expect: typeof vitestExpect,
  target: () => Promise<HomeserverTarget>,
): void {
  /** Alice and Bob with this trust, whose devices are signed unless it is `all`; Carol's device is not. */
  async function chat(trust: TrustPolicy, homeserver?: HomeserverTarget, more = {}) {
    const world = homeserver ?? (await target());
    const [deployment, others] = [new Deployment(world), new Deployment(world)];
    const options = { ...optionsFor(deployment, { trust }), ...more };
    const manager = deployment.start(options);
    const unsigned = others.start(optionsFor(others, { trust: 'all' }));
    const [alice, bob] = [await deployment.user(manager), await deployment.user(manager)];
    const carol = await others.user(unsigned);
    const inbox = new Recorder();
    await manager.startClient({ userId: bob });
    await unsigned.startClient({ userId: carol, callbacks: [inbox.callback] });
    const roomId = await encryptedRoom(manager, [alice, bob]);
    const bringCarol = async (room: string): Promise<void> => {
      await manager.withClient(alice, (client) => client.invite(room, carol));
      await unsigned.withClient(carol, (client) => client.joinRoom(room));
      const membership = () =>
        manager.withClient(alice, (client) => client.getRoom(room)?.getMember(carol)?.membership);
      await expect.poll(membership, { timeout: 15_000 }).toBe('join');
    };
    await bringCarol(roomId);
    const deviceOf = async (userId: string) => {
      const { deviceId } = await (userId === carol ? unsigned : manager).encryptionStatus(userId);
      return { userId, deviceId };
    };
    const say = (text: string) => manager.sendMessage({ userId: alice, roomId, text });
    return {
      deployment,
      options,
      manager,
      others,
      unsigned,
      alice,
      bob,
      carol,
      inbox,
      roomId,
      bringCarol,
      deviceOf,
      say,
    };
  }
  const patience = { timeout: TEST_TIMEOUT_MS };

  it('are those of none under trust all, and nothing is reported', patience, async () => {
    const { manager, inbox, say } = await chat('all');
    const events = eventsOf(manager);
    expect(await say('for all')).toEqual({ eventId: expect.any(String) });
    await inbox.message('for all');
    expect(events).toEqual([]);
    expect(manager.stats().keysWithheld).toEqual(none);
  });

  it('are named by each message under trust cross-signed, by one event, and are counted', patience, async () => {
    const metrics = new WatchedMetrics();
    const { manager, unsigned, alice, carol, inbox, roomId, deviceOf, say } = await chat('cross-signed', undefined, {
      meterProvider: metrics.meterProvider,
    });
    const events = eventsOf(manager);
    const withheld = { ...(await deviceOf(carol)), reason: 'm.unverified' };
    const named = { keysWithheld: [withheld], keysWithheldCount: 1 };
    const first = await say('one');
    expect(first).toEqual({ eventId: expect.any(String), ...named });
    expect(await say('two, in the same session')).toMatchObject(named);
    expect(await inbox.first((event) => 'eventId' in event && event.eventId === first.eventId)).toMatchObject({
      decryption: { state: 'failed', reason: 'withheld' },
    });
    const edit = { msgtype: 'm.text', body: '* 1', 'm.new_content': { msgtype: 'm.text', body: '1' } };
    const relation = { 'm.relates_to': { rel_type: 'm.replace', event_id: first.eventId } };
    expect(await manager.sendMessage({ userId: alice, roomId, content: { ...edit, ...relation } })).toMatchObject(
      named,
    );
    expect(await manager.sendMessage({ userId: alice, roomId, text: 'kept', durable: true })).toMatchObject(named);
    const file = { body: new Uint8Array(3), name: 'f' };
    expect(await manager.sendFile({ userId: alice, roomId, file })).toMatchObject({
      contentUri: expect.stringContaining('mxc://'),
      ...named,
    });
    const reaction = { 'm.relates_to': { rel_type: 'm.annotation', event_id: first.eventId, key: 'k' } };
    const reacted = await manager.sendMessage({ userId: alice, roomId, type: 'm.reaction', content: reaction });
    expect(reacted).toEqual({ eventId: expect.any(String) }); // it is not encrypted
    expect(events).toEqual([{ userId: alice, roomId, devices: [withheld], count: 1 }]);
    expect(manager.stats()).toMatchObject({
      keysWithheld: { ...none, 'm.unverified': 1 },
      roomKeys: { withheld: 0 },
    });
    expect(unsigned.stats()).toMatchObject({ keysWithheld: none, roomKeys: { withheld: 1 } });

    await newSession(manager, alice, roomId);
    expect(await say('in another session')).toMatchObject(named);
    expect(events).toHaveLength(1);
    expect(manager.stats().keysWithheld).toEqual({ ...none, 'm.unverified': 2 });
    const counted = { 'm.unverified': 2, 'm.no_olm': 0 };
    for (const [reason, count] of Object.entries(counted))
      expect(await metrics.value('matrix.encryption.keys_withheld', { reason })).toBe(count);
    await metrics.close();
  });

  it('are all but those of verified users under trust verified', patience, async () => {
    const { manager, alice, bob, carol, roomId, deviceOf, say } = await chat('verified');
    const events = eventsOf(manager);
    const withheld = [
      { ...(await deviceOf(bob)), reason: 'm.unverified' },
      { ...(await deviceOf(carol)), reason: 'm.unverified' },
    ];
    const sent = await say('for nobody yet');
    expect(sent.keysWithheldCount).toBe(2);
    expect(new Set(sent.keysWithheld)).toEqual(new Set(withheld));
    expect(events).toMatchObject([{ userId: alice, roomId, count: 2 }]);
    await manager.verifyUser(alice, bob);
    expect(await say('for Bob')).toMatchObject({ keysWithheld: withheld.slice(1), keysWithheldCount: 1 });
    expect(events).toHaveLength(1);
  });

  it('are named after a restart too, in the same session, without another event', patience, async () => {
    const { deployment, options, manager, alice, carol, roomId, deviceOf, say } = await chat('cross-signed');
    const named = { keysWithheld: [{ ...(await deviceOf(carol)), reason: 'm.unverified' }], keysWithheldCount: 1 };
    expect(await say('before')).toMatchObject(named);
    await manager.shutdown();
    const next = deployment.start(options);
    const events = eventsOf(next);
    expect(await next.sendMessage({ userId: alice, roomId, text: 'after' })).toMatchObject(named);
    await newSession(next, alice, roomId);
    expect(await next.sendMessage({ userId: alice, roomId, text: 'in another session' })).toMatchObject(named);
    expect(events).toEqual([]);
  });

  it('are not named for users who have left, and are again when they are back', patience, async () => {
    const { manager, unsigned, alice, carol, roomId, bringCarol, deviceOf, say } = await chat('cross-signed');
    const named = { keysWithheld: [{ ...(await deviceOf(carol)), reason: 'm.unverified' }], keysWithheldCount: 1 };
    expect(await say('one')).toMatchObject(named);
    await unsigned.withClient(carol, (client) => client.leave(roomId));
    const membership = () =>
      manager.withClient(alice, (client) => client.getRoom(roomId)?.getMember(carol)?.membership);
    await expect.poll(membership, { timeout: 15_000 }).toBe('leave');
    expect(await say('two')).toEqual({ eventId: expect.any(String) });
    await bringCarol(roomId);
    expect(await say('three')).toMatchObject(named);
  });

  it('are given to a device that was signed meanwhile', patience, async () => {
    const { manager, others, unsigned, carol, roomId, say } = await chat('cross-signed');
    expect(await say('unsigned')).toMatchObject({ keysWithheldCount: 1 });
    await unsigned.shutdown();
    const signed = others.start(optionsFor(others, { trust: 'cross-signed' }));
    const inbox = new Recorder();
    await signed.startClient({ userId: carol, callbacks: [inbox.callback] });
    await expect.poll(async () => (await signed.encryptionStatus(carol)).crossSigned, { timeout: 15_000 }).toBe(true);
    const text = 'signed';
    await expect.poll(() => say(text), { timeout: 15_000 }).toEqual({ eventId: expect.any(String) });
    await inbox.message(text);
    expect(roomId).toBeTruthy();
    expect(manager.stats().keysWithheld).toEqual({ ...none, 'm.unverified': 1 });
  });

  it('are those of a device without one-time keys, in each room, until it has some', patience, async () => {
    const door = new Door(await target());
    const open = door.guard(({ name }) =>
      name === 'POST /_matrix/client/v3/keys/claim' ? Response.json({ one_time_keys: {}, failures: {} }) : undefined,
    );
    const { deployment, options, manager, unsigned, alice, carol, bob, roomId, bringCarol, deviceOf, say } = await chat(
      'all',
      door.target,
    );
    const events = eventsOf(manager);
    const withheld = [
      { ...(await deviceOf(bob)), reason: 'm.no_olm' },
      { ...(await deviceOf(carol)), reason: 'm.no_olm' },
    ];
    const first = await say('one');
    expect(first.keysWithheldCount).toBe(2);
    expect(new Set(first.keysWithheld)).toEqual(new Set(withheld));
    expect(events).toMatchObject([{ userId: alice, roomId, count: 2 }]);
    // The crypto library tells a device once for ever, so here it says nothing.
    const otherRoom = await encryptedRoom(manager, [alice]);
    await bringCarol(otherRoom);
    const toOther = { userId: alice, roomId: otherRoom, text: 'two' };
    const named = { keysWithheld: withheld.slice(1), keysWithheldCount: 1 };
    expect(await manager.sendMessage(toOther)).toMatchObject(named);
    expect(events.slice(1)).toEqual([{ userId: alice, roomId: otherRoom, devices: withheld.slice(1), count: 1 }]);
    await newSession(manager, alice, otherRoom);
    expect(await manager.sendMessage(toOther)).toMatchObject(named);
    expect(events).toHaveLength(2);
    expect(manager.stats().keysWithheld).toEqual({ ...none, 'm.no_olm': 3 });

    await unsigned.admin.deleteDevice(carol, (await deviceOf(carol)).deviceId);
    const inAnotherSession = async () => {
      await newSession(manager, alice, otherRoom);
      return manager.sendMessage(toOther);
    };
    await expect.poll(inAnotherSession, { timeout: 15_000 }).toEqual({ eventId: expect.any(String) });

    await manager.shutdown();
    open();
    const next = deployment.start(options);
    for (const room of [roomId, otherRoom])
      expect(await next.sendMessage({ userId: alice, roomId: room, text: 'with keys' })).toEqual({
        eventId: expect.any(String),
      });
  });
}
