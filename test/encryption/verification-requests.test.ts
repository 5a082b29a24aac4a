import { once } from 'node:events';
import { ClientEvent } from 'matrix-js-sdk';
import { CryptoEvent, VerificationPhase } from 'matrix-js-sdk/lib/crypto-api/index.js';
import { describe, expect, it } from 'vitest';
import type { VerificationRequest } from '../../src/index.js';
import { FakeHomeserver } from '../../src/testing/fake-homeserver/fake-homeserver.js';
import { ManualClock, MemoryLogger } from '../../src/testing/index.js';
import { rejection } from '../support/rejection.js';
import { Recorder } from '../support/recorder.js';
import { Deployment } from './support/encrypted-chats.js';
import {
  askDevice,
  askInRoom,
  bobAndAlice,
  cancellationsOf,
  expectVerified,
  keeper,
  phaseOf,
  startAt,
  verificationRequests,
} from './support/verification-requests.js';

describe('verifications that others ask for, on the fake homeserver', () => {
  verificationRequests(it, expect, async () => new FakeHomeserver());
});

/** A message to devices, as another client would send it. */
async function toDevice(
  { account, bob, deviceId }: Awaited<ReturnType<typeof bobAndAlice>>,
  type: string,
  content: object,
): Promise<void> {
  const body = { messages: { [bob]: { [deviceId]: content } } };
  const txnId = crypto.randomUUID();
  const { status } = await account.http.put(`/_matrix/client/v3/sendToDevice/${type}/${txnId}`, body);
  expect(status).toBe(200);
}

const ask = (from_device: string, more: object = {}) => ({
  from_device,
  transaction_id: crypto.randomUUID(),
  methods: ['m.sas.v1'],
  timestamp: Date.now(),
  ...more,
});

/** Resolves when Bob's client has processed what was sent so far. */
async function settled(all: Awaited<ReturnType<typeof bobAndAlice>>): Promise<void> {
  const count = all.asked.length;
  await toDevice(all, 'm.key.verification.request', ask('MARK', { transaction_id: `mark ${count}` }));
  await expect.poll(() => all.asked.some(({ transactionId }) => transactionId === `mark ${count}`)).toBe(true);
}

/** Resolves when Bob's client has processed all syncs so far, as {@link settled}, but asks for no verification. */
async function processed(all: Awaited<ReturnType<typeof bobAndAlice>>): Promise<void> {
  const type = `org.example.${crypto.randomUUID()}`;
  const { promise, resolve } = Promise.withResolvers<void>();
  await all.manager.withClient(all.bob, (client) => {
    client.on(ClientEvent.ReceivedToDeviceMessage, ({ message }) => {
      if (message.type === type) resolve();
    });
  });
  await toDevice(all, type, {});
  await promise;
}

const noise = 'does not matter' as const;

describe('a handler of verification requests', () => {
  it.each([
    [
      'throws',
      () => {
        throw new Error(noise);
      },
    ],
    ['rejects', () => Promise.reject(new Error(noise))],
    [
      'rejects after it has accepted',
      async (request: VerificationRequest) => {
        await request.accept();
        throw new Error(noise);
      },
    ],
  ])('that %s cancels the request, and nothing else', async (_misdeed, onVerificationRequest) => {
    const logger = new MemoryLogger();
    const { bob, deviceId, alice, asked } = await bobAndAlice(new FakeHomeserver(), { onVerificationRequest, logger });
    const cancellations = cancellationsOf(alice);
    const request = await askDevice(alice, bob, deviceId);
    await expect.poll(() => request.phase).toBe(VerificationPhase.Cancelled);
    await expect
      .poll(() => cancellations)
      .toMatchObject([{ code: 'm.user', reason: 'The application of this account failed.' }]);
    expect(asked).toMatchObject([{ answer: 'passed-on' }]);
    expect(logger.entries.filter(({ message }) => message.includes('onVerificationRequest'))).toHaveLength(1);
    const again = await askDevice(alice, bob, deviceId);
    await expect.poll(() => again.phase).toBe(VerificationPhase.Cancelled);
  });

  it.each(['hangs', 'returns junk'])('that %s has the request cancelled after ten minutes', async (misdeed) => {
    const clock = new ManualClock(Date.now());
    const requests: VerificationRequest[] = [];
    const handler = (request: VerificationRequest): never => {
      requests.push(request);
      return (misdeed === 'hangs' ? new Promise(() => {}) : 7) as never;
    };
    const fake = new FakeHomeserver({ clock });
    const all = await bobAndAlice(fake, { onVerificationRequest: handler, clock });
    const { bob, deviceId, alice } = all;
    const cancellations = cancellationsOf(alice);
    await askDevice(alice, bob, deviceId);
    await expect.poll(() => requests).toHaveLength(1);
    const [request] = requests;
    if (!request) throw new Error('no request');
    await request.accept();
    const end = request.expiresAt - 1;
    while (clock.now() < end) {
      await clock.advance(Math.min(20_000, end - clock.now()));
      await processed(all); // the time limits of the crypto library's calls must not pass while the disk is slow
    }
    expect(request.signal.aborted).toBe(false);
    await clock.advance(1);
    expect(request.signal.aborted).toBe(true);
    await expect.poll(() => cancellations).toMatchObject([{ code: 'm.timeout' }]);
    expect(await rejection(request.confirm())).toMatchObject({ code: 'VERIFICATION_ENDED' });
  });

  it('may take the steps in any order and again, and cancel twice', async () => {
    const { onVerificationRequest, first } = keeper();
    const { bob, deviceId, alice } = await bobAndAlice(new FakeHomeserver(), { onVerificationRequest });
    const cancellations = cancellationsOf(alice);
    await askDevice(alice, bob, deviceId);
    const { accept, emoji, confirm, cancel, signal } = await first();
    expect(await rejection(confirm())).toMatchObject({ code: 'INVALID_OPTIONS' });
    expect(await rejection(accept({ signal: 7 as never }))).toMatchObject({ code: 'INVALID_OPTIONS' });
    expect(await rejection(cancel({ reason: 'else' as never }))).toMatchObject({ code: 'INVALID_OPTIONS' });
    expect(await rejection(emoji({ signal: AbortSignal.abort() }))).toMatchObject({ code: 'ABORTED' });
    await Promise.all([accept(), accept()]);
    expect(signal.aborted).toBe(false);
    await Promise.all([cancel(), cancel(), cancel({ reason: 'mismatch' })]);
    await cancel();
    await expect.poll(() => cancellations).toMatchObject([{ code: 'm.user' }]);
    for (const step of [accept, emoji, confirm])
      expect(await rejection(step())).toMatchObject({ code: 'VERIFICATION_ENDED' });
  });

  it('starts the comparison where the other side does not', async () => {
    const { onVerificationRequest, first } = keeper();
    const clock = new ManualClock(Date.now());
    const all = await bobAndAlice(new FakeHomeserver({ clock }), { onVerificationRequest, clock });
    const sdk = await askDevice(all.alice, all.bob, all.deviceId);
    const request = await first();
    await request.accept();
    await phaseOf(sdk, VerificationPhase.Ready);
    const shown = request.emoji();
    await clock.advance(5_000);
    await phaseOf(sdk, VerificationPhase.Started);
    const verified = sdk.verifier?.verify();
    const emoji = await shown;
    await expect.poll(() => sdk.verifier?.getShowSasCallbacks()).not.toBeNull();
    const sas = sdk.verifier?.getShowSasCallbacks();
    expect(emoji.map(({ symbol, name }) => [symbol, name])).toEqual(sas?.sas.emoji);
    await Promise.all([request.confirm(), sas?.confirm(), verified]);
    await expectVerified(expect, all);
    expect(clock.pendingTimers).toBeLessThan(10);
  });

  it('gets a newer request of the same person instead of the first', async () => {
    const { onVerificationRequest, requests, first } = keeper();
    const all = await bobAndAlice(new FakeHomeserver(), { onVerificationRequest });
    const cancellations = cancellationsOf(all.alice);
    const device = all.alice.getDeviceId() ?? '';
    const [one, two] = [ask(device), ask(device)];
    await toDevice(all, 'm.key.verification.request', one);
    const old = await first();
    const ended = once(old.signal, 'abort');
    await toDevice(all, 'm.key.verification.request', two);
    await ended;
    await expect.poll(() => requests).toHaveLength(2);
    await requests[1]?.accept();
    expect(requests[1]?.transactionId).toBe(two.transaction_id);
    await expect.poll(() => cancellations).toMatchObject([{ transaction_id: one.transaction_id }]);
  });

  it('is not asked by a device that compares no emoji, or whose keys nobody knows', async () => {
    const { onVerificationRequest, requests } = keeper();
    const all = await bobAndAlice(new FakeHomeserver(), { onVerificationRequest });
    const cancellations = cancellationsOf(all.alice);
    const device = all.alice.getDeviceId() ?? '';
    await toDevice(all, 'm.key.verification.request', ask(device, { methods: ['m.qr_code.scan.v1'] }));
    await toDevice(all, 'm.key.verification.request', ask('NOBODY'));
    await expect.poll(() => all.asked).toMatchObject([{ answer: 'cancelled' }, { answer: 'cancelled' }]);
    await expect.poll(() => cancellations).toMatchObject([{ code: 'm.unknown_method' }]);
    expect(requests).toEqual([]);
  });
});

describe('requests for a verification', () => {
  it.each([
    ['more than ten minutes old', { timestamp: Date.now() - 600_001 - 60_000 }],
    ['of the far future', { timestamp: Date.now() + 400_000 }],
    ['without a time', { timestamp: undefined }],
    ['with a time of another type', { timestamp: '1' }],
    ['without an id', { transaction_id: undefined }],
    ['with a very long id', { transaction_id: 'x'.repeat(300) }],
    ['with an id of another type', { transaction_id: { __proto__: null } }],
  ])('%s are neither answered nor passed on', async (_what, more) => {
    const { onVerificationRequest, requests } = keeper();
    for (const option of [{}, { onVerificationRequest }]) {
      const all = await bobAndAlice(new FakeHomeserver(), option);
      await toDevice(all, 'm.key.verification.request', ask(all.alice.getDeviceId() ?? '', more));
      await settled(all);
      expect(all.asked).toHaveLength(1);
    }
    expect(requests).toEqual([]);
  });

  it('in rooms that were missed are neither answered nor passed on', async () => {
    const { onVerificationRequest, requests } = keeper();
    const all = await bobAndAlice(new FakeHomeserver(), { onVerificationRequest });
    const { manager, bob, alice, inbox, room } = all;
    const roomId = await room(false);
    await manager.stopClient(bob);
    await askInRoom(alice, bob, roomId);
    await alice.sendEvent(roomId, 'm.room.message' as never, { msgtype: 'm.text', body: 'missed' } as never);
    await manager.startClient({ userId: bob });
    await inbox.message('missed');
    expect(inbox.bodies(roomId)).toEqual(['missed']);
    expect([requests, all.asked]).toEqual([[], []]);
  });

  it('to another member of the room are left alone', async () => {
    const all = await bobAndAlice(new FakeHomeserver());
    const { alice, inbox, room, asked } = all;
    const roomId = await room(false);
    const content = { msgtype: 'm.key.verification.request', body: '', from_device: 'A', methods: ['m.sas.v1'] };
    await alice.sendEvent(roomId, 'm.room.message' as never, { ...content, to: '@carol:hs.test' } as never);
    await alice.sendEvent(roomId, 'm.room.message' as never, content as never);
    await alice.sendEvent(roomId, 'm.room.message' as never, { msgtype: 'm.text', body: 'after' } as never);
    await inbox.message('after');
    await settled(all);
    expect(asked).toHaveLength(1);
    expect(inbox.bodies(roomId)).toEqual(['', 'after']); // without `to` it is no request
  });

  it('of a user without encryption break nothing, and are no messages', async () => {
    const all = await bobAndAlice(new FakeHomeserver());
    const { alice, account } = all;
    const deployment = new Deployment(all.deployment.world.target);
    const plain = deployment.start({ encryption: undefined as never });
    const carol = await deployment.user(plain);
    const inbox = new Recorder();
    const { deviceId } = await plain.startClient({ userId: carol, callbacks: [inbox.callback] });
    const { room_id: roomId } = await alice.createRoom({ invite: [carol] });
    await plain.withClient(carol, (client) => client.joinRoom(roomId));
    await toDevice({ ...all, account, bob: carol, deviceId: deviceId ?? '' }, 'm.key.verification.request', ask('A'));
    const content = {
      msgtype: 'm.key.verification.request',
      body: '',
      from_device: 'A',
      methods: ['m.sas.v1'],
      to: carol,
    };
    await alice.sendEvent(roomId, 'm.room.message' as never, content as never);
    await alice.sendEvent(roomId, 'm.room.message' as never, { msgtype: 'm.text', body: 'after' } as never);
    await inbox.message('after');
    expect(inbox.bodies(roomId)).toEqual(['after']);
  });

  it.each(['cancelled', 'passed on'])('are bounded where one person makes a thousand: %s', async (how) => {
    const { onVerificationRequest, requests } = keeper();
    const option = how === 'cancelled' ? {} : { onVerificationRequest };
    const fake = new FakeHomeserver();
    const all = await bobAndAlice(fake, option);
    const cancellations = cancellationsOf(all.alice);
    const device = all.alice.getDeviceId() ?? '';
    const flood = Array.from({ length: 1_000 }, () => toDevice(all, 'm.key.verification.request', ask(device)));
    await Promise.all(flood);
    await expect.poll(() => all.asked.length, { timeout: 10_000 }).toBe(10);
    const roomId = await all.room(false);
    await all.alice.sendEvent(roomId, 'm.room.message' as never, { msgtype: 'm.text', body: 'after' } as never);
    await all.inbox.message('after');
    expect(all.asked).toHaveLength(10);
    expect(requests.filter(({ signal }) => !signal.aborted).length).toBeLessThanOrEqual(1);
    await expect.poll(() => cancellations.length).toBe(how === 'cancelled' ? 10 : 9);
  });

  it('by a start alone, as libolm clients ask, are cancelled too', async () => {
    const all = await bobAndAlice(new FakeHomeserver());
    const cancellations = cancellationsOf(all.alice);
    const { from_device, transaction_id } = ask(all.alice.getDeviceId() ?? '');
    await toDevice(all, 'm.key.verification.start', { from_device, transaction_id, method: 'm.sas.v1' });
    await expect.poll(() => cancellations).toMatchObject([{ transaction_id, code: 'm.user' }]);
    expect(all.asked).toMatchObject([{ transactionId: transaction_id, answer: 'cancelled' }]);
  });

  it('are not passed on when they were cancelled at once', async () => {
    const { onVerificationRequest, requests } = keeper();
    const all = await bobAndAlice(new FakeHomeserver(), { onVerificationRequest });
    await all.manager.stopClient(all.bob);
    const content = ask(all.alice.getDeviceId() ?? '');
    await toDevice(all, 'm.key.verification.request', content);
    const { transaction_id } = content;
    await toDevice(all, 'm.key.verification.cancel', { transaction_id, code: 'm.user', reason: '' });
    await all.manager.startClient({ userId: all.bob });
    await settled(all);
    expect(requests).toEqual([]);
  });

  it('are answered once, however often they arrive', async () => {
    const all = await bobAndAlice(new FakeHomeserver());
    const content = ask(all.alice.getDeviceId() ?? '');
    const cancellations = cancellationsOf(all.alice);
    for (let n = 0; n < 20; n++) await toDevice(all, 'm.key.verification.request', content);
    await settled(all);
    await expect.poll(() => cancellations).toHaveLength(1);
    expect(all.asked).toHaveLength(2);
  });

  it('are left to an application that listens for those of the SDK', async () => {
    const { onVerificationRequest, requests } = keeper();
    const all = await bobAndAlice(new FakeHomeserver(), { onVerificationRequest });
    const { manager, bob, deviceId, alice, asked, room } = all;
    const client = manager.getClient(bob);
    const received: unknown[] = [];
    client?.on(CryptoEvent.VerificationRequestReceived, (request) => received.push(request.transactionId));
    const roomId = await room(true);
    const one = await askInRoom(alice, bob, roomId);
    await expect.poll(() => received).toEqual([one.transactionId]);
    await one.cancel();
    const other = await askDevice(alice, bob, deviceId);
    await expect.poll(() => received).toEqual([one.transactionId, other.transactionId]);
    expect([requests, asked]).toEqual([[], []]);
  });

  it('that are open when the client stops are cancelled, and leave no timer', async () => {
    const { onVerificationRequest, first } = keeper();
    const clock = new ManualClock(Date.now());
    const all = await bobAndAlice(new FakeHomeserver(), { onVerificationRequest, clock });
    const cancellations = cancellationsOf(all.alice);
    const sdk = await askDevice(all.alice, all.bob, all.deviceId);
    const request = await first();
    await request.accept();
    await startAt(sdk);
    await request.emoji();
    const confirmed = rejection(request.confirm());
    expect(clock.pendingTimers).toBeGreaterThan(0);
    await all.manager.shutdown();
    expect((await confirmed).code).toBe('VERIFICATION_ENDED');
    expect(clock.pendingTimers).toBe(0);
    await expect.poll(() => cancellations).toMatchObject([{ code: 'm.user', reason: 'The account goes offline.' }]);
  });

  it('do not hold up a stop while the homeserver does not answer', async () => {
    const { onVerificationRequest, first } = keeper();
    const fake = new FakeHomeserver();
    const held = new Set<string>();
    const fetch: typeof globalThis.fetch = (input, init) => {
      const { pathname } = new URL(input instanceof Request ? input.url : input);
      if (![...held].some((part) => pathname.includes(part))) return fake.fetch(input, init);
      return new Promise((_resolve, reject) => {
        const signal = init?.signal ?? (input as Request).signal;
        signal?.addEventListener('abort', () => reject(signal.reason));
      });
    };
    const { baseUrl, serverName, admin } = fake;
    const clock = new ManualClock(Date.now());
    const target = { baseUrl, serverName, admin, fetch };
    const all = await bobAndAlice(target, { onVerificationRequest, clock });
    await askDevice(all.alice, all.bob, all.deviceId);
    const request = await first();
    held.add('sendToDevice');
    const stopped = all.manager.stopClient(all.bob);
    await clock.advance(2_000);
    await stopped;
    expect(request.signal.aborted).toBe(true);
  });
});
