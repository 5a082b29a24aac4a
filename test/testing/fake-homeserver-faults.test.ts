import { describe, expect, it } from 'vitest';
import { FakeHomeserver } from '../../src/testing/fake-homeserver/fake-homeserver.js';
import { ManualClock } from '../../src/testing/manual-clock.js';
import { call, settle, sync } from './fake-homeserver.support.js';

const WHOAMI = '/account/whoami';

function setUp() {
  const clock = new ManualClock();
  const fake = new FakeHomeserver({ clock });
  const alice = fake.createUser({ username: 'alice' });
  const bob = fake.createUser({ username: 'bob' });
  const whoami = (user = alice) => call(fake, WHOAMI, { token: user.accessToken });
  const statuses = async (count: number): Promise<number[]> => {
    const seen: number[] = [];
    for (let n = 0; n < count; n++) seen.push((await whoami()).status);
    return seen;
  };
  return { clock, fake, alice, bob, whoami, statuses };
}

describe('a fault', () => {
  it('befalls what it matches, until its disposer is called', async () => {
    const { fake, bob, whoami } = setUp();
    const end = fake.faults.status({ method: 'get', endpoint: WHOAMI, userId: '@alice:hs.test' }, { status: 503 });
    expect((await whoami()).status).toBe(503);
    expect((await whoami(bob)).status).toBe(200);
    expect((await call(fake, '/devices', { token: bob.accessToken })).status).toBe(200);
    end();
    expect((await whoami()).status).toBe(200);
  });

  it('can begin late and end by itself', async () => {
    const { fake, statuses } = setUp();
    fake.faults.status({ path: /whoami$/, after: 1, times: 2 }, { status: 500 });
    expect(await statuses(5)).toEqual([200, 500, 500, 200, 200]);
  });

  it('can happen at random', async () => {
    const { fake, statuses } = setUp();
    fake.faults.status({ probability: 0.5 }, { status: 500 });
    expect(new Set(await statuses(100))).toEqual(new Set([200, 500]));
    fake.faults.clear();
    expect(await statuses(1)).toEqual([200]);
  });

  it('for an endpoint that does not exist is an error that names those that do', () => {
    const { fake } = setUp();
    expect(() => fake.faults.drop({ endpoint: '/snyc' })).toThrow(/expected the path template[^]*\n {2}\/sync\n/);
    expect(() => fake.countRequests('/snyc')).toThrow(/expected the path template/);
  });
});

it('answers late', async () => {
  const { clock, fake, whoami } = setUp();
  fake.faults.latency({}, 250);
  fake.faults.status({}, { status: 503 });
  const answer = whoami();
  await clock.advance(249);
  expect(fake.inFlight).toBe(1);
  await clock.advance(1);
  expect((await answer).status).toBe(503);
});

it('limits the rate, telling the wait in header and body, in one of them, or in neither', async () => {
  const { fake, whoami } = setUp();
  for (const [header, body] of [
    [true, true],
    [true, false],
    [false, true],
    [false, false],
  ] as const) {
    const end = fake.faults.rateLimit({}, { retryAfterMs: 1500, header, body });
    const answer = await whoami();
    expect(answer).toMatchObject({ status: 429, body: { errcode: 'M_LIMIT_EXCEEDED' } });
    expect(answer.headers.get('retry-after')).toBe(header ? '2' : null);
    expect(answer.body.retry_after_ms).toBe(body ? 1500 : undefined);
    end();
  }
});

it('answers with a status, and with a body and headers when given', async () => {
  const { fake, whoami } = setUp();
  fake.faults.status({ times: 1 }, { status: 400, errcode: 'M_USER_IN_USE' });
  expect(await whoami()).toMatchObject({ status: 400, body: { errcode: 'M_USER_IN_USE' } });
  fake.faults.status({}, { status: 502, body: { a: 1 }, headers: { 'X-Proxy': 'yes' } });
  const answer = await whoami();
  expect(answer).toMatchObject({ status: 502, body: { a: 1 } });
  expect(answer.headers.get('x-proxy')).toBe('yes');
});

it('answers with a web page, cut JSON, or JSON of another shape', async () => {
  const { fake, alice } = setUp();
  const ask = async () => {
    const headers = { Authorization: `Bearer ${alice.accessToken}` };
    const response = await fake.fetch(`${fake.baseUrl}/_matrix/client/v3${WHOAMI}`, { headers });
    return { type: response.headers.get('content-type'), text: await response.text() };
  };
  fake.faults.html({ times: 1 });
  expect(await ask()).toMatchObject({
    type: expect.stringContaining('text/html'),
    text: expect.stringContaining('<html>'),
  });
  fake.faults.truncatedJson({ times: 1 });
  const cut = await ask();
  expect(cut.text).toMatch(/^\{"user_id"/);
  expect(() => JSON.parse(cut.text)).toThrow(SyntaxError);
  fake.faults.wrongTypes({ times: 1 }, { user_id: 5 });
  expect(JSON.parse((await ask()).text)).toEqual({ user_id: 5 });
});

it('cuts the body in the middle, in process and on a port', async () => {
  const { fake, alice } = setUp();
  await fake.listen();
  fake.faults.cutBody({ endpoint: WHOAMI });
  const headers = { Authorization: `Bearer ${alice.accessToken}` };
  for (const fetch of [fake.fetch, globalThis.fetch]) {
    const response = await fetch(`${fake.baseUrl}/_matrix/client/v3${WHOAMI}`, { headers });
    expect(response.status).toBe(200);
    const error = await response.text().catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(TypeError);
    expect(error).toMatchObject({ cause: { code: expect.stringMatching(/ECONNRESET|UND_ERR_SOCKET/) } });
  }
  await fake.close();
});

it('drops the connection, in process and on a port', async () => {
  const { fake, alice } = setUp();
  await fake.listen();
  fake.faults.drop({ endpoint: WHOAMI });
  const headers = { Authorization: `Bearer ${alice.accessToken}` };
  for (const fetch of [fake.fetch, globalThis.fetch]) {
    const error = await fetch(`${fake.baseUrl}/_matrix/client/v3${WHOAMI}`, { headers }).catch(
      (reason: unknown) => reason,
    );
    expect(error).toBeInstanceOf(TypeError);
    expect(error).toMatchObject({
      message: 'fetch failed',
      cause: { code: expect.stringMatching(/ECONNRESET|UND_ERR_SOCKET/) },
    });
  }
  expect(fake.requests.map(({ status }) => status)).toEqual([0, 0]);
  await fake.close();
});

it('does what a request asks and drops the connection before the answer; a repeat sends nothing twice', async () => {
  const { fake, alice } = setUp();
  const roomId = fake.createRoom({ creator: alice.userId });
  const send = () =>
    call(fake, `/rooms/${roomId}/send/m.room.message/txn1`, {
      method: 'PUT',
      token: alice.accessToken,
      body: { msgtype: 'm.text', body: 'once' },
    });
  fake.faults.dropAfter({ endpoint: '/rooms/{roomId}/send/{eventType}/{txnId}', times: 1 });
  await expect(send()).rejects.toThrow('fetch failed');
  const sent = fake.events(roomId).at(-1);
  expect(sent?.content).toMatchObject({ body: 'once' });
  expect((await send()).body).toEqual({ event_id: sent?.eventId });
  expect(fake.events(roomId).filter(({ type }) => type === 'm.room.message')).toHaveLength(1);
});

it('hangs until the client gives up or the homeserver closes', async () => {
  const { clock, fake, alice, whoami } = setUp();
  fake.faults.hang({});
  const controller = new AbortController();
  const aborted = call(fake, WHOAMI, { token: alice.accessToken, signal: controller.signal });
  const closed = whoami();
  await clock.advance(3_600_000);
  expect(fake.inFlight).toBe(2);
  controller.abort();
  await expect(aborted).rejects.toMatchObject({ name: 'AbortError' });
  await fake.close();
  await expect(closed).rejects.toThrow('fetch failed');
  await settle();
  expect(fake.inFlight).toBe(0);
});

it('returns the since of a sync at once, as broken homeservers do', async () => {
  const { fake, alice } = setUp();
  fake.faults.sameNextBatch({});
  const { next_batch: since } = (await sync(fake, alice)).body;
  expect((await sync(fake, alice, { since, timeout: '30000' })).body).toEqual({ next_batch: since });
});

describe('a lie about events', () => {
  function encryptedRoom() {
    const { fake, alice, bob, ...rest } = setUp();
    const roomId = fake.createRoom({ creator: alice.userId, members: [bob.userId] });
    const content = { algorithm: 'm.megolm.v1.aes-sha2', ciphertext: 'AwgA', session_id: 's' };
    const send = () => fake.sendMessage(roomId, alice.userId, content, { type: 'm.room.encrypted' });
    const read = async () => {
      const { body } = await call(fake, `/rooms/${roomId}/messages?dir=b&limit=10`, { token: bob.accessToken });
      const events: { event_id: string; sender: string; type: string }[] = body.chunk;
      return new Map(events.map((event) => [event.event_id, event.sender]));
    };
    return { ...rest, fake, alice, bob, roomId, content, send, read };
  }

  it('names another sender, of one event or of all, until its disposer is called', async () => {
    const { fake, alice, bob, send, read } = encryptedRoom();
    const [one, other] = [send(), send()];
    const swap = { from: alice.userId, to: bob.userId };
    const end = fake.faults.swapSender({}, { ...swap, eventId: one });
    expect([(await read()).get(one), (await read()).get(other)]).toEqual([bob.userId, alice.userId]);
    end();
    expect((await read()).get(one)).toBe(alice.userId);
    fake.faults.swapSender({ userId: bob.userId }, swap);
    const senders = [...(await read()).values()];
    expect(senders.filter((sender) => sender === bob.userId)).toHaveLength(3); // his join too
    fake.faults.clear();
    expect((await read()).get(other)).toBe(alice.userId);
  });

  it('names another sender of messages to devices', async () => {
    const { fake, alice, bob } = encryptedRoom();
    const path = '/sendToDevice/m.room.encrypted/t1';
    const body = { messages: { [bob.userId]: { [bob.deviceId]: { algorithm: 'm.olm' } } } };
    await call(fake, path, { method: 'PUT', token: alice.accessToken, body });
    fake.faults.swapSender({}, { from: alice.userId, to: '@mallory:hs.test', toDevice: true });
    const { to_device: toDevice } = (await sync(fake, bob)).body;
    expect(toDevice.events).toMatchObject([{ sender: '@mallory:hs.test', content: { algorithm: 'm.olm' } }]);
  });

  it('reaches requests that are running', async () => {
    const { fake, bob, roomId, send } = encryptedRoom();
    const { next_batch: since } = (await sync(fake, bob)).body;
    const poll = sync(fake, bob, { since, timeout: '30000' });
    await settle();
    fake.faults.rewriteEvents({ endpoint: '/sync' }, (event) => ({ ...event, type: 'm.lie' }));
    send();
    const { events } = (await poll).body.rooms.join[roomId].timeline;
    expect(events).toMatchObject([{ type: 'm.lie' }]);
    expect(() => fake.faults.rewriteEvents({ endpoint: '/snyc' }, (event) => event)).toThrow('/snyc');
  });

  it('gives a device messages that nobody has sent, also in a running poll', async () => {
    const { fake, bob } = encryptedRoom();
    const { next_batch: since } = (await sync(fake, bob)).body;
    const poll = sync(fake, bob, { since, timeout: '30000' });
    await settle();
    const events = [{ type: 'm.dummy', sender: 7, content: null }, {}];
    fake.faults.injectToDevice({ userId: bob.userId, deviceId: bob.deviceId, events });
    expect((await poll).body.to_device.events).toEqual(events);
  });

  it('shows a device that the user does not have, until its disposer is called', async () => {
    const { fake, alice, bob } = encryptedRoom();
    const ask = async (what: 'query' | 'claim'): Promise<unknown> => {
      const body =
        what === 'query'
          ? { device_keys: { [bob.userId]: [] } }
          : { one_time_keys: { [bob.userId]: { NEW: 'signed_curve25519' } } };
      const response = await call(fake, `/keys/${what}`, { method: 'POST', token: alice.accessToken, body });
      return response.body[what === 'query' ? 'device_keys' : 'one_time_keys'];
    };
    const without = [await ask('query'), await ask('claim')];
    const device = { userId: bob.userId, deviceId: 'NEW', deviceKeys: { keys: {} }, oneTimeKeys: { a: {} } };
    const end = fake.faults.injectDevice({ userId: alice.userId }, device);
    expect(await ask('query')).toEqual({ [bob.userId]: { NEW: { keys: {} } } });
    expect(await ask('claim')).toEqual({ [bob.userId]: { NEW: { a: {} } } });
    end();
    expect([await ask('query'), await ask('claim')]).toEqual(without);
  });

  it('sends an encrypted event again: as the homeserver, as a member, and into another room', async () => {
    const { fake, alice, bob, roomId, content, send } = encryptedRoom();
    const otherRoom = fake.createRoom({ creator: alice.userId });
    const eventId = send();
    const { faults } = fake;
    const copies = [
      faults.replayEncrypted({ roomId, eventId }),
      faults.replayEncrypted({ roomId, eventId, sender: bob.userId }),
      faults.replayEncrypted({ roomId, eventId, intoRoomId: otherRoom }),
    ];
    expect(new Set([eventId, ...copies]).size).toBe(4);
    const events = [...fake.events(roomId), ...fake.events(otherRoom)];
    const found = copies.map((id) => events.find((event) => event.eventId === id));
    expect(found).toMatchObject([alice, bob, alice].map(({ userId: sender }) => ({ sender, content })));
    const clear = fake.sendMessage(roomId, alice.userId, 'clear');
    expect(() => faults.replayEncrypted({ roomId, eventId: clear })).toThrow('expected an encrypted event');
  });
});

describe('a redirect', () => {
  it('is followed within the homeserver', async () => {
    const { fake, whoami } = setUp();
    fake.faults.redirect(
      { endpoint: WHOAMI, times: 1 },
      { status: 307, location: `${fake.baseUrl}/_matrix/client/v3${WHOAMI}` },
    );
    expect((await whoami()).body).toMatchObject({ user_id: '@alice:hs.test' });
    expect(fake.requests.map(({ status }) => status)).toEqual([307, 200]);
  });

  it('to elsewhere ends at the fetch that serves nothing else', async () => {
    const { fake, whoami } = setUp();
    fake.faults.redirect({ endpoint: WHOAMI }, { location: 'http://evil.test/' });
    await expect(whoami()).rejects.toThrow('got http://evil.test/');
  });

  it('can be looked at, or be an error, as with the global fetch', async () => {
    const { fake } = setUp();
    const url = `${fake.baseUrl}/_matrix/client/versions`;
    fake.faults.redirect({}, { location: url });
    expect((await fake.fetch(url, { redirect: 'manual' })).status).toBe(302);
    await expect(fake.fetch(url, { redirect: 'error' })).rejects.toThrow('fetch failed');
    await expect(fake.fetch(url)).rejects.toThrow('fetch failed');
  });

  it('keeps method and body where the status says so', async () => {
    const { fake, alice } = setUp();
    const roomId = fake.createRoom({ creator: alice.userId });
    const path = `/rooms/${roomId}/send/m.room.message/txn1`;
    fake.faults.redirect({ times: 1 }, { status: 307, location: `/_matrix/client/v3${path}` });
    const body = { msgtype: 'm.text', body: 'moved' };
    expect((await call(fake, path, { method: 'PUT', token: alice.accessToken, body })).status).toBe(200);
    expect(fake.events(roomId).at(-1)?.content).toEqual(body);
  });
});

describe('a lie about encryption', () => {
  const algorithm = 'm.megolm.v1.aes-sha2';
  const encrypted = { type: 'm.room.encryption', content: { algorithm } };

  function withRooms() {
    const { fake, alice, bob } = setUp();
    const room = () =>
      fake.createRoom({ creator: alice.userId, members: [bob.userId], initialState: [encrypted], isDirect: false });
    const [lied, other] = [room(), room()];
    const ask = async (path: string, user = alice, more: object = {}): Promise<unknown> =>
      (await call(fake, path, { token: user.accessToken, ...more })).body;
    const read = (user = alice, roomId = lied) =>
      Promise.all([
        ask('/sync', user),
        ask(`/rooms/${roomId}/messages?dir=b&limit=50`, user),
        ask(`/rooms/${roomId}/state`, user),
        ask(`/rooms/${roomId}/state/m.room.encryption/`, user),
        ask('/_matrix/client/unstable/org.matrix.simplified_msc3575/sync?timeout=0', user, {
          method: 'POST',
          body: { lists: { all: { ranges: [[0, 9]], timeline_limit: 20, required_state: [['*', '*']] } } },
        }),
      ]);
    return { fake, alice, bob, lied, other, read };
  }

  it('hides it in every response, of one room and to one user', async () => {
    const { fake, alice, bob, lied, other, read } = withRooms();
    const end = fake.faults.hideEncryption({ roomId: lied, userId: alice.userId });
    const [sync, messages, state, event, sliding] = await read();
    expect(JSON.stringify([messages, state])).not.toContain(algorithm);
    expect(event).toEqual({ errcode: 'M_NOT_FOUND', error: 'Event not found.' });
    const joined = (sync as { rooms: { join: Record<string, object> } }).rooms.join;
    const listed = (sliding as { rooms: Record<string, object> }).rooms;
    for (const rooms of [joined, listed]) {
      expect(JSON.stringify(rooms[lied])).not.toContain(algorithm);
      expect(JSON.stringify(rooms[other])).toContain(algorithm);
    }
    expect((await read(bob)).every((body) => JSON.stringify(body).includes(algorithm))).toBe(true);
    end();
    expect((await read()).every((body) => JSON.stringify(body).includes(algorithm))).toBe(true);
  });

  it('shows another content, such as that of a redacted event', async () => {
    const { fake, lied, read } = withRooms();
    fake.faults.changeEncryption({ roomId: lied }, {});
    const [, messages, state, event] = await read();
    expect(event).toEqual({});
    expect(JSON.stringify([messages, state])).toContain('"type":"m.room.encryption"');
    expect(JSON.stringify([messages, state])).not.toContain(algorithm);
  });
});
