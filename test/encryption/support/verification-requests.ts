import { once } from 'node:events';
import { ClientEvent, createClient, MemoryStore, RoomEvent } from 'matrix-js-sdk';
import type { MatrixClient } from 'matrix-js-sdk';
import { CryptoEvent, VerificationPhase, VerificationRequestEvent } from 'matrix-js-sdk/lib/crypto-api/index.js';
import type { ShowSasCallbacks, VerificationRequest as SdkRequest } from 'matrix-js-sdk/lib/crypto-api/index.js';
import { VerifierEvent } from 'matrix-js-sdk/lib/crypto-api/verification.js';
import { onTestFinished } from 'vitest';
import type { expect as vitestExpect, it as vitestIt } from 'vitest';
import type { MatrixClientManagerOptions, OnVerificationRequest, VerificationRequest } from '../../../src/index.js';
import type { HomeserverTarget } from '../../../src/testing/contracts/homeserver-contract.js';
import type { TestUser } from '../../../src/testing/contracts/homeserver/test-user.js';
import { queryKeys } from '../../../src/sdk/crypto/verification.js';
import { silenceSdkRootLogger } from '../../../src/sdk/sdk-logger.js';
import { Recorder } from '../../support/recorder.js';
import { rejection } from '../../support/rejection.js';
import { told } from './device-lives.js';
import { Deployment } from './encrypted-chats.js';
import { optionsFor } from './hostile-homeserver.js';

const silent = { trace() {}, debug() {}, info() {}, warn() {}, error() {}, getChild: () => silent };

/** The client of a person: matrix-js-sdk alone, with its keys in memory. */
export async function personAt(target: HomeserverTarget, user: TestUser): Promise<MatrixClient> {
  silenceSdkRootLogger();
  const { userId, deviceId, http } = user;
  const requests = new AbortController();
  const base = target.fetch ?? globalThis.fetch;
  const client = createClient({
    baseUrl: target.baseUrl,
    userId,
    deviceId,
    accessToken: http.accessToken ?? '',
    store: new MemoryStore(),
    logger: silent,
    disableVoip: true,
    fetchFn: (input, init) =>
      base(input, { ...init, signal: AbortSignal.any([requests.signal, ...(init?.signal ? [init.signal] : [])]) }),
  });
  Object.assign(client.matrixRTC, { start: () => {} }); // it has a logger of its own
  await client.initRustCrypto({ useIndexedDB: false });
  const synced = new Promise((resolve) => client.once(ClientEvent.Sync, resolve));
  await client.startClient({ initialSyncLimit: 20, pollTimeout: 2_000, disablePresence: true });
  await synced;
  onTestFinished(async () => {
    requests.abort();
    await new Promise((resolve) => setTimeout(resolve, 50)); // the crypto library may be answering
    client.stopClient();
  });
  return client;
}

/** Gives a person cross-signing keys. */
export async function withIdentity(client: MatrixClient): Promise<MatrixClient> {
  await client.getCrypto()?.bootstrapCrossSigning({
    setupNewCrossSigning: true,
    authUploadDeviceSigningKeys: async (send) => {
      await send(null);
    },
  });
  return client;
}

export function cryptoOf(client: MatrixClient) {
  const crypto = client.getCrypto();
  if (!crypto) throw new Error('no encryption');
  return crypto;
}

/** Asks a device, whose keys are fetched first. */
export async function askDevice(client: MatrixClient, userId: string, deviceId: string): Promise<SdkRequest> {
  await queryKeys(cryptoOf(client), userId);
  return cryptoOf(client).requestDeviceVerification(userId, deviceId);
}

/** Asks in a room, as the SDK does: not encrypted. */
export async function askInRoom(client: MatrixClient, userId: string, roomId: string): Promise<SdkRequest> {
  await queryKeys(cryptoOf(client), userId);
  return cryptoOf(client).requestVerificationDM(userId, roomId);
}

/** The cancellations that a person's client receives, of devices and of rooms. */
export function cancellationsOf(client: MatrixClient): Record<string, unknown>[] {
  const all: Record<string, unknown>[] = [];
  const type = 'm.key.verification.cancel';
  client.on(ClientEvent.ReceivedToDeviceMessage, ({ message }) => {
    if (message.type === type) all.push({ sender: message.sender, ...message.content });
  });
  client.on(RoomEvent.Timeline, (event) => {
    if (event.getType() === type) all.push({ sender: event.getSender(), ...event.getContent() });
  });
  return all;
}

export async function phaseOf(request: SdkRequest, phase: VerificationPhase): Promise<void> {
  while (request.phase !== phase) {
    if (request.phase === VerificationPhase.Cancelled) throw new Error(`cancelled: ${request.cancellationCode}`);
    await once(request as never, VerificationRequestEvent.Change);
  }
}

/** Starts the comparison at the person's side; resolves with what is shown there. */
export async function startAt(request: SdkRequest): Promise<{ sas: ShowSasCallbacks; verified: Promise<void> }> {
  await phaseOf(request, VerificationPhase.Ready);
  const verifier = await request.startVerification('m.sas.v1');
  const shown = new Promise<ShowSasCallbacks>((resolve) => verifier.once(VerifierEvent.ShowSas, resolve));
  const verified = verifier.verify();
  verified.catch(() => {});
  return { sas: await shown, verified };
}

/** A handler that keeps the requests it gets. */
export function keeper() {
  const requests: VerificationRequest[] = [];
  const waiting = new Set<() => void>();
  const onVerificationRequest: OnVerificationRequest = (request) => {
    requests.push(request);
    for (const look of waiting) look();
  };
  const nth = (n: number): Promise<VerificationRequest> =>
    new Promise((resolve) => {
      const look = (): void => {
        const request = requests[n];
        if (request) resolve(request);
      };
      waiting.add(look);
      look();
    });
  return { onVerificationRequest, requests, next: () => nth(requests.length), first: () => nth(0) };
}

/** Bob is a user of a manager; Alice is a person with a client of her own. */
export async function bobAndAlice(
  target: HomeserverTarget,
  {
    onVerificationRequest,
    signed = true,
    ...more
  }: Partial<MatrixClientManagerOptions> & {
    readonly onVerificationRequest?: OnVerificationRequest;
    readonly signed?: boolean;
  } = {},
) {
  const deployment = new Deployment(target);
  const { encryption } = optionsFor(deployment, { trust: signed ? 'cross-signed' : 'all' });
  const manager = deployment.start({
    encryption: { ...encryption, ...(onVerificationRequest && { onVerificationRequest }) },
    ...more,
  });
  const bob = await deployment.user(manager);
  const inbox = new Recorder();
  const { deviceId } = await manager.startClient({ userId: bob, callbacks: [inbox.callback] });
  const account = await deployment.world.newUser();
  const alice = await withIdentity(await personAt(target, account));
  const asked = told(manager, 'verificationRequest');
  const room = (encrypted: boolean): Promise<string> => roomWith(bob, encrypted);
  const roomWith = async (userId: string, encrypted: boolean): Promise<string> => {
    const algorithm = { algorithm: 'm.megolm.v1.aes-sha2' };
    const { room_id: roomId } = await alice.createRoom({
      invite: [userId],
      ...(encrypted && { initial_state: [{ type: 'm.room.encryption', state_key: '', content: algorithm }] }),
    });
    await manager.withClient(userId, (client) => client.joinRoom(roomId));
    while (alice.getRoom(roomId)?.getJoinedMemberCount() !== 2) {
      await new Promise((resolve) => alice.once(ClientEvent.Sync, resolve));
    }
    return roomId;
  };
  return { deployment, manager, bob, deviceId: deviceId ?? '', inbox, account, alice, asked, room, roomWith };
}

/** Both sides trust each other's keys. */
export async function expectVerified(
  expect: typeof vitestExpect,
  { manager, bob, alice }: Pick<Awaited<ReturnType<typeof bobAndAlice>>, 'manager' | 'bob' | 'alice'>,
): Promise<void> {
  const aliceId = alice.getSafeUserId();
  const options = { timeout: 15_000 };
  await expect.poll(async () => (await manager.userVerification(bob, aliceId)).verified, options).toBe(true);
  const bobs = async () => {
    await queryKeys(cryptoOf(alice), bob); // the SDK keeps no track of whom it shares no encrypted room with
    return cryptoOf(alice).getUserVerificationStatus(bob);
  };
  await expect.poll(async () => (await bobs()).isVerified(), options).toBe(true);
}

/** Requests of persons to verify a user of a manager: on a fake homeserver, and on a real one. */
export function verificationRequests(
  it: typeof vitestIt,
  expect: typeof vitestExpect,
  target: () => Promise<HomeserverTarget>,
): void {
  const nobody = expect.stringContaining('No person is there');

  it('to devices are cancelled at once, and the person is told that nobody is there', async () => {
    const { bob, deviceId, alice, asked } = await bobAndAlice(await target());
    const cancellations = cancellationsOf(alice);
    const request = await askDevice(alice, bob, deviceId);
    await expect.poll(() => request.phase).toBe(VerificationPhase.Cancelled);
    expect(request.cancellationCode).toBe('m.user');
    const transactionId = request.transactionId;
    await expect
      .poll(() => cancellations)
      .toEqual([{ sender: bob, transaction_id: transactionId, code: 'm.user', reason: nobody }]);
    const flow = { otherUserId: alice.getUserId(), otherDeviceId: alice.getDeviceId(), roomId: undefined };
    expect(asked).toEqual([{ userId: bob, ...flow, transactionId, answer: 'cancelled' }]);
  });

  it.each([
    { encrypted: false, requestEncrypted: false },
    { encrypted: true, requestEncrypted: false },
    { encrypted: true, requestEncrypted: true },
  ])('in rooms are cancelled too, and are no messages: %o', async ({ encrypted, requestEncrypted }) => {
    const { bob, alice, asked, room, inbox } = await bobAndAlice(await target());
    const cancellations = cancellationsOf(alice);
    const roomId = await room(encrypted);
    await alice.sendEvent(roomId, 'm.room.message' as never, { msgtype: 'm.text', body: 'before' } as never);
    await inbox.message('before');
    const content = {
      msgtype: 'm.key.verification.request',
      body: 'a verification',
      from_device: alice.getDeviceId(),
      methods: ['m.sas.v1'],
      to: bob,
    };
    const eventId = requestEncrypted
      ? (await alice.sendEvent(roomId, 'm.room.message' as never, content as never)).event_id
      : (await askInRoom(alice, bob, roomId)).transactionId;
    const relation = { rel_type: 'm.reference', event_id: eventId };
    await expect
      .poll(() => cancellations, { timeout: 5_000 })
      .toEqual([{ sender: bob, 'm.relates_to': relation, code: 'm.user', reason: nobody }]);
    expect(asked).toMatchObject([{ userId: bob, roomId, transactionId: eventId, answer: 'cancelled' }]);
    await alice.sendEvent(roomId, 'm.room.message' as never, { msgtype: 'm.text', body: 'after' } as never);
    await inbox.message('after');
    expect(inbox.bodies(roomId)).toEqual(['before', 'after']);
    const types = inbox.events.map((event) => ('eventType' in event ? event.eventType : event.type));
    expect(types.filter((type) => type.includes('verification'))).toEqual([]);
  });

  it.each(['devices', 'a room', 'an encrypted room'])(
    'to %s verify both, when the application compares the emoji',
    async (where) => {
      const { onVerificationRequest, first } = keeper();
      const all = await bobAndAlice(await target(), { onVerificationRequest });
      const { bob, deviceId, alice, asked, room } = all;
      const roomId = where === 'devices' ? undefined : await room(where !== 'a room');
      const sdk = await (roomId === undefined ? askDevice(alice, bob, deviceId) : askInRoom(alice, bob, roomId));
      const request = await first();
      expect(request).toMatchObject({ userId: bob, otherUserId: alice.getUserId(), roomId });
      expect(asked).toMatchObject([{ transactionId: sdk.transactionId, answer: 'passed-on' }]);
      await request.accept();
      const { sas, verified } = await startAt(sdk);
      const emoji = await request.emoji();
      expect(emoji.map(({ symbol, name }) => [symbol, name])).toEqual(sas.sas.emoji);
      await Promise.all([request.confirm(), sas.confirm(), verified]);
      await expectVerified(expect, all);
      expect(request.signal.aborted).toBe(false);
      await request.cancel();
    },
  );

  it('are over for the application when the person cancels', async () => {
    const { onVerificationRequest, first } = keeper();
    const { bob, deviceId, alice } = await bobAndAlice(await target(), { onVerificationRequest });
    const sdk = await askDevice(alice, bob, deviceId);
    const request = await first();
    const [shown, ended] = [rejection(request.emoji()), once(request.signal, 'abort')];
    await phaseOf(sdk, VerificationPhase.Ready);
    await sdk.cancel();
    await ended;
    expect(await shown).toMatchObject({ code: 'VERIFICATION_ENDED', userId: bob });
    expect((await shown).message).toContain('the other side has cancelled it (m.user');
    expect(await rejection(request.accept())).toBe(await shown);
    await request.cancel();
  });

  it('tell the person that the emoji differ', async () => {
    const { onVerificationRequest, first } = keeper();
    const { manager, bob, deviceId, alice } = await bobAndAlice(await target(), { onVerificationRequest });
    const sdk = await askDevice(alice, bob, deviceId);
    const request = await first();
    await request.accept();
    await startAt(sdk);
    await request.emoji();
    await Promise.all([request.cancel({ reason: 'mismatch' }), request.cancel()]);
    await expect.poll(() => sdk.cancellationCode).toBe('m.mismatched_sas');
    expect((await manager.userVerification(bob, alice.getSafeUserId())).verified).toBe(false);
  });

  it.each(['to nobody', 'to a handler'])('that are sent encrypted to a device are answered: %s', async (whom) => {
    const { onVerificationRequest, first } = keeper();
    const handled = whom === 'to a handler';
    const all = await bobAndAlice(await target(), handled ? { onVerificationRequest } : {});
    const { bob, deviceId, alice, asked } = all;
    const cancellations = cancellationsOf(alice);
    await queryKeys(cryptoOf(alice), bob);
    const flow = { transaction_id: 'encrypted', from_device: alice.getDeviceId(), methods: ['m.sas.v1'] };
    const content = { ...flow, timestamp: Date.now() };
    await alice.encryptAndSendToDevice('m.key.verification.request', [{ userId: bob, deviceId }], content);
    await expect.poll(() => asked).toMatchObject([{ answer: handled ? 'passed-on' : 'cancelled' }]);
    if (handled) await (await first()).cancel();
    await expect.poll(() => cancellations).toMatchObject([{ transaction_id: 'encrypted', code: 'm.user' }]);
  });

  it('in a room are over, without a cancellation, when another device of the user answers', async () => {
    const { onVerificationRequest, first } = keeper();
    const { deployment, manager, alice, roomWith } = await bobAndAlice(await target(), { onVerificationRequest });
    const account = await deployment.world.newUser();
    const { userId: bob, deviceId, http } = account;
    await manager.startClient({ userId: bob, accessToken: http.accessToken ?? '', deviceId });
    const roomId = await roomWith(bob, false);
    const phone = await personAt(deployment.world.target, await account.logInAgain());
    const devices = async () => (await manager.userVerification(bob, bob)).devices.map((device) => device.deviceId);
    await expect.poll(devices, { timeout: 15_000 }).toContain(phone.getDeviceId()); // its keys are uploaded
    const asked = new Promise<SdkRequest>((resolve) => phone.once(CryptoEvent.VerificationRequestReceived, resolve));
    const cancellations = cancellationsOf(alice);
    const sdk = await askInRoom(alice, bob, roomId);
    const request = await first();
    await Promise.all([once(request.signal, 'abort'), (await asked).accept()]);
    expect(await rejection(request.accept())).toMatchObject({ code: 'VERIFICATION_ENDED' });
    await request.cancel();
    await phaseOf(sdk, VerificationPhase.Ready);
    expect(sdk.otherDeviceId).toBe(phone.getDeviceId());
    await alice.sendEvent(roomId, 'm.room.message' as never, { msgtype: 'm.text', body: 'after' } as never);
    expect([cancellations, sdk.phase]).toEqual([[], VerificationPhase.Ready]);
  });

  it('of another device of the user are cancelled, unless a person may be at a third one', async () => {
    const { deployment, manager, asked } = await bobAndAlice(await target());
    const account = await deployment.world.newUser();
    const { userId: bob, deviceId, http } = account;
    await manager.startClient({ userId: bob, accessToken: http.accessToken ?? '', deviceId });
    await expect.poll(async () => (await manager.encryptionStatus(bob)).crossSigned, { timeout: 15_000 }).toBe(true);
    const phone = await personAt(deployment.world.target, await account.logInAgain());
    await cryptoOf(phone).userHasCrossSigningKeys(bob, true);
    const request = await cryptoOf(phone).requestOwnUserVerification();
    await expect.poll(() => request.phase).toBe(VerificationPhase.Cancelled);
    expect(request.cancellationCode).toBe('m.user');
    expect(asked).toMatchObject([{ userId: bob, otherUserId: bob, otherDeviceId: phone.getDeviceId() }]);

    const tablet = await account.logInAgain();
    await personAt(deployment.world.target, tablet);
    await manager.withClient(bob, async (client) => {
      await queryKeys(cryptoOf(client), bob);
      await cryptoOf(client).crossSignDevice(tablet.deviceId);
    });
    const status = () => manager.userVerification(bob, bob);
    const isSigned = async () => (await status()).devices.find((one) => one.deviceId === tablet.deviceId)?.crossSigned;
    await expect.poll(isSigned, { timeout: 15_000 }).toBe(true);
    await cryptoOf(phone).requestOwnUserVerification();
    await expect.poll(() => asked).toMatchObject([{ answer: 'cancelled' }, { userId: bob, answer: 'other-device' }]);
  });
}
