import type { MatrixClient } from '../../src/sdk/matrix-client.js';
import { describe, expect, it, onTestFinished } from 'vitest';
import { managerOnFake } from '../support/manager-on-fake.js';
import { rejection } from '../support/rejection.js';

const initialState = [{ type: 'm.room.encryption', content: { algorithm: 'm.megolm.v1.aes-sha2' } }];
const content = { msgtype: 'm.text', body: 'top secret' };

/** The SDK's client of a user without encryption, in an encrypted room that the client has lost, and in another room. */
async function setUp() {
  const { fake, manager, soon } = managerOnFake();
  onTestFinished(async () => {
    await soon(manager.shutdown());
    await fake.close();
  });
  const alice = fake.createUser({ username: 'alice' });
  const { userId } = alice;
  const roomId = fake.createRoom({ creator: userId, initialState });
  const clearRoom = fake.createRoom({ creator: userId });
  await soon(manager.startClient(alice));
  const use = <T>(call: (client: MatrixClient) => Promise<T>): Promise<T> => soon(manager.withClient(userId, call));
  await use(async (client) => {
    client.store.removeRoom(roomId);
    client.doesServerSupportUnstableFeature = async () => true;
  });
  const sent = (room: string): string => JSON.stringify(fake.events(room));
  const refused = { code: 'ENCRYPTION_UNAVAILABLE', userId, roomId };
  return { use, roomId, clearRoom, sent, refused };
}

describe("the SDK's client, in an encrypted room that it lacks,", () => {
  it('sends no message in the clear', async () => {
    const { use, roomId, sent, refused } = await setUp();
    expect(await rejection(use((client) => client.sendTextMessage(roomId, 'top secret')))).toMatchObject(refused);
    expect(
      await rejection(use((client) => client.sendEvent(roomId, 'org.own' as never, content as never))),
    ).toMatchObject(refused);
    expect(sent(roomId)).not.toContain('top secret');
  });

  it('sends no delayed event in the clear', async () => {
    const { use, roomId, sent, refused } = await setUp();
    const failure = rejection(
      use((client) =>
        client._unstable_sendDelayedEvent(roomId, { delay: 1_000 }, null, 'm.room.message' as never, content as never),
      ),
    );
    expect(await failure).toMatchObject(refused);
    expect(sent(roomId)).not.toContain('top secret');
  });

  it('sends nothing in the clear by a request for which it was decided before', async () => {
    const { use, roomId, sent, refused } = await setUp();
    const path = `/rooms/${encodeURIComponent(roomId)}/send/m.room.message/txn`;
    const request = (client: MatrixClient) => client.http.authedRequest('PUT' as never, path, undefined, content);
    expect(await rejection(use(request))).toMatchObject(refused);
    expect(sent(roomId)).not.toContain('top secret');
  });

  it('sends the events of a verification, which are never encrypted, as the crypto library asks for them', async () => {
    const { use, roomId, sent } = await setUp();
    const send = (type: string, body: string) =>
      use((client) =>
        client.http.authedRequest(
          'PUT' as never,
          `/rooms/${encodeURIComponent(roomId)}/send/${type}/${type}`,
          undefined,
          body,
        ),
      );
    const incomplete = { msgtype: 'm.key.verification.request', body: 'wants to verify', methods: [] };
    const request = { ...incomplete, to: '@bob:hs.test', from_device: 'A' };
    await send('m.room.message', JSON.stringify(request));
    await send('m.key.verification.cancel', JSON.stringify({ code: 'm.timeout' }));
    expect(sent(roomId)).toContain('wants to verify');
    expect(sent(roomId)).toContain('m.timeout');
    for (const body of ['"m.key.verification.request', JSON.stringify(incomplete)]) {
      expect((await rejection(send('m.room.message', body))).code).toBe('ENCRYPTION_UNAVAILABLE');
    }
  });

  it('sends reactions, redactions and state, which are never encrypted', async () => {
    const { use, roomId, sent } = await setUp();
    const relation = { rel_type: 'm.annotation', event_id: '$x', key: '+1' };
    const { event_id: eventId } = await use((client) =>
      client.sendEvent(roomId, 'm.reaction' as never, { 'm.relates_to': relation } as never),
    );
    expect(sent(roomId)).toContain('+1');
    await use((client) => client.redactEvent(roomId, eventId));
    await use((client) => client.setRoomName(roomId, 'a name'));
    expect(sent(roomId)).toContain('a name');
    expect(sent(roomId)).toContain('m.room.redaction');
  });
});

it("the SDK's client of a user without encryption refuses with a code also where it has the room", async () => {
  const { fake, manager, soon } = managerOnFake();
  const alice = fake.createUser({ username: 'alice' });
  const roomId = fake.createRoom({ creator: alice.userId, initialState });
  await soon(manager.startClient(alice));
  const sending = manager.withClient(alice.userId, (client) => client.sendTextMessage(roomId, 'top secret'));
  expect(await rejection(soon(sending))).toMatchObject({
    code: 'ENCRYPTION_UNAVAILABLE',
    userId: alice.userId,
    roomId,
  });
  await soon(manager.shutdown());
  await fake.close();
});

it("the SDK's client sends to rooms that are not encrypted", async () => {
  const { use, clearRoom, sent } = await setUp();
  await use((client) => client.sendTextMessage(clearRoom, 'for everybody'));
  expect(sent(clearRoom)).toContain('for everybody');
});
