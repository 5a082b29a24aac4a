import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest';

import { startSynapse } from '../../scripts/synapse/start-synapse.js';
import type { RunningSynapse } from '../../scripts/synapse/start-synapse.js';
import { ChatService } from './chat-service.js';
import { ChatUser } from './chat-user.js';

/** examples/nestjs-chat as a host would run it: two tenants with a Synapse each, and browsers with socket.io. */
let acme: RunningSynapse;
let globex: RunningSynapse;
let service: ChatService;
let alice: ChatUser;
let bob: ChatUser;
let roomId: string;
const users: ChatUser[] = [];

const start = (): Promise<void> => service.start({ acme, globex });
const eventually = (check: () => unknown): Promise<unknown> => vi.waitFor(check, { timeout: 30_000, interval: 100 });

function user(tenant: string, username: string): ChatUser {
  const made = new ChatUser(service, tenant, username);
  users.push(made);
  return made;
}

/** A room of Alice with Bob, which both look at. */
async function openRoom(): Promise<void> {
  await Promise.all([alice, bob].map((each) => each.connect()));
  const created = await alice.request('POST', '/rooms', { name: 'Picnic', usernames: ['bob'] });
  expect(created.status).toBe(201);
  ({ roomId } = created.body as { roomId: string });
  await Promise.all([alice, bob].map((each) => each.join(roomId)));
}

/** Alice writes with another client, while the service may be down. */
async function writeElsewhere(texts: readonly string[]): Promise<void> {
  const aliceId = `@alice:${acme.serverName}`;
  const login = await synapse('POST', `/_synapse/admin/v1/users/${aliceId}/login`, acme.admin.accessToken, {});
  const path = `/_matrix/client/v3/rooms/${encodeURIComponent(roomId)}/send/m.room.message`;
  for (const text of texts) {
    await synapse('PUT', `${path}/${text}`, String(login['access_token']), { msgtype: 'm.text', body: text });
  }
}

async function synapse(method: string, path: string, token: string, body?: object): Promise<Record<string, unknown>> {
  const response = await fetch(new URL(path, acme.baseUrl), {
    method,
    headers: { authorization: `Bearer ${token}` },
    ...(body && { body: JSON.stringify(body) }),
  });
  if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${await response.text()}`);
  return (await response.json()) as Record<string, unknown>;
}

async function devicesOf(username: string): Promise<unknown> {
  const path = `/_synapse/admin/v2/users/@${username}:${acme.serverName}/devices`;
  const { devices } = await synapse('GET', path, acme.admin.accessToken);
  return (devices as { device_id: string }[]).map((device) => device.device_id);
}

beforeAll(async () => {
  [acme, globex, service] = await Promise.all([
    startSynapse(),
    startSynapse({ extraConfig: { server_name: 'globex.test' } }),
    ChatService.install(),
  ]);
  await start();
  alice = user('acme', 'alice');
  bob = user('acme', 'bob');
  await openRoom();
});
afterEach(({ task }) => {
  if (task.result?.state === 'fail') console.error(service.output); // oxlint-disable-line no-console -- says why
});
afterAll(async () => {
  for (const each of users) each.disconnect();
  await service?.[Symbol.asyncDispose]();
  await Promise.all([acme?.stop(), globex?.stop()]);
});

describe('two users of one tenant', () => {
  it('chat live, and see that the other one types and has read', async () => {
    await alice.emit('typing', { roomId, typing: true });
    await eventually(() => expect(bob.events).toContainEqual(expect.objectContaining({ type: 'typing', roomId })));
    const eventId = await alice.say(roomId, 'Hello Bob');
    await eventually(() => expect(bob.shown(roomId)).toEqual(['Hello Bob']));
    await bob.emit('read', { roomId, eventId });
    const receipt = { type: 'receipt', sender: `@bob:${acme.serverName}`, eventId };
    await eventually(() => expect(alice.events).toContainEqual(expect.objectContaining(receipt)));
  });

  it('have unread counts that go up, and are reset by reading', async () => {
    await alice.say(roomId, 'One');
    const eventId = await alice.say(roomId, 'Two');
    await eventually(async () => expect(await bob.room(roomId)).toMatchObject({ name: 'Picnic', unread: 2 }));
    await eventually(() => expect(bob.events).toContainEqual(expect.objectContaining({ type: 'unread', unread: 2 })));
    const path = `/rooms/${encodeURIComponent(roomId)}/read`;
    expect(await bob.request('POST', path, { eventId })).toMatchObject({ status: 204 });
    await eventually(async () => expect(await bob.room(roomId)).toMatchObject({ unread: 0 }));
    await eventually(() => expect(bob.events.at(-1)).toMatchObject({ type: 'unread', unread: 0 }));
  });

  it('receive after a break what they have missed, in order', async () => {
    const lastEventId = await alice.say(roomId, 'Before the break');
    await eventually(() => expect(bob.shown(roomId)).toContain('Before the break'));
    bob.disconnect();
    await alice.say(roomId, 'Missed 1');
    await alice.say(roomId, 'Missed 2');
    await bob.connect();
    await bob.join(roomId, lastEventId);
    await alice.say(roomId, 'After the break');
    const texts = ['Before the break', 'Missed 1', 'Missed 2', 'After the break'];
    await eventually(() => expect(bob.shown(roomId).slice(-4)).toEqual(texts));
  });

  it('receive the newest messages after a long break', async () => {
    const lastEventId = await alice.say(roomId, 'Before the long break');
    await eventually(() => expect(bob.shown(roomId)).toContain('Before the long break'));
    bob.disconnect();
    const texts = Array.from({ length: 60 }, (_, index) => `long-${index}`);
    await writeElsewhere(texts);
    await bob.connect();
    await bob.join(roomId, lastEventId);
    await eventually(() => expect(bob.shown(roomId).slice(-50)).toEqual(texts.slice(-50)));
    expect(bob.shown(roomId)).not.toContain('Before the long break');
  });

  it('post a message once, also if the browser sends it again', async () => {
    const first = await alice.say(roomId, 'Once', 'id-of-the-browser');
    expect(await alice.say(roomId, 'Once', 'id-of-the-browser')).toBe(first);
    await alice.say(roomId, 'The next one');
    await eventually(() => expect(bob.shown(roomId)).toContain('The next one'));
    const { body } = await bob.request('GET', `/rooms/${encodeURIComponent(roomId)}/messages`);
    const texts = (body as { messages: { text: string }[] }).messages.map(({ text }) => text);
    expect(texts.filter((text) => text === 'Once')).toHaveLength(1);
  });
});

describe('a user of another tenant', () => {
  it('sees nothing, and cannot enter', async () => {
    const mallory = user('globex', 'mallory');
    await mallory.connect();
    await alice.say(roomId, 'Between us');
    await eventually(() => expect(bob.shown(roomId)).toContain('Between us'));
    expect(await mallory.request('GET', '/rooms')).toMatchObject({ status: 200, body: { rooms: [] } });
    const messages = await mallory.request('GET', `/rooms/${encodeURIComponent(roomId)}/messages`);
    expect([403, 404]).toContain(messages.status);
    expect(await mallory.emit('join', { roomId })).toMatchObject({ status: 'error', error: 'FORBIDDEN' });
    expect(mallory.events).toEqual([]);
    const invited = await alice.request('POST', `/rooms/${encodeURIComponent(roomId)}/members`, {
      usernames: ['mallory'],
    });
    expect(invited).toMatchObject({ body: { members: [{ userId: `@mallory:${acme.serverName}` }] } }); // another one
  });
});

describe('a faulty request', () => {
  it('is refused with the token of an unknown tenant', async () => {
    const stranger = user('umbrella', 'eve');
    expect(await stranger.request('GET', '/rooms')).toMatchObject({ status: 401 });
    await expect(stranger.connect()).rejects.toThrow('Unauthorized');
  });

  it('is answered with the code of the error', async () => {
    const bad = await alice.request('GET', '/rooms/lobby/messages');
    expect(bad).toMatchObject({ status: 400, body: { statusCode: 400, error: 'INVALID_OPTIONS' } });
    expect(await alice.emit('message', { roomId: 'lobby', text: 'x' })).toMatchObject({ error: 'INVALID_OPTIONS' });
  });
});

it('tells its health', async () => {
  const health = await alice.request('GET', '/health');
  expect(health).toMatchObject({ status: 200, body: { info: { acme: { status: 'up' }, globex: { status: 'up' } } } });
});

describe.each(['SIGTERM', 'SIGKILL'] as const)('a restart after %s', (signal) => {
  it('keeps sessions and positions, and loses no message', async () => {
    const devices = await Promise.all(['alice', 'bob'].map(devicesOf));
    const texts = Array.from({ length: 20 }, (_, index) => `${signal}-${index}`);
    const lastEventId = await alice.say(roomId, `Before ${signal}`);
    await writeElsewhere(texts.slice(0, 10));
    expect(await service.end(signal)).toBe(signal);
    expect(service.output).not.toMatch(/ERROR/);
    await writeElsewhere(texts.slice(10));
    await start();
    // Nobody has signed in: the service itself has started Bob's client.
    await eventually(async () => {
      const noted = await bob.notifications(roomId);
      expect(noted.slice(noted.indexOf(`Before ${signal}`) + 1)).toEqual(texts);
    });
    for (const each of [alice, bob]) {
      each.disconnect();
      await each.connect();
      await each.join(roomId, lastEventId);
    }
    await alice.say(roomId, `After ${signal}`);
    const expected = [`Before ${signal}`, ...texts, `After ${signal}`];
    for (const each of [alice, bob]) {
      await eventually(() => expect(each.shown(roomId).slice(-expected.length)).toEqual(expected));
    }
    expect(await Promise.all(['alice', 'bob'].map(devicesOf))).toEqual(devices);
  });
});

it('serves a tenant while the homeserver of another one is down', async () => {
  await globex.kill();
  const eventId = await alice.say(roomId, 'Still here');
  await eventually(() => expect(bob.shown(roomId)).toContain('Still here'));
  await bob.emit('read', { roomId, eventId });
  // `down` comes 35 seconds after the last answer; with several users who send, sooner.
  const details = { acme: { health: 'ok' }, globex: { health: 'degraded' } };
  await eventually(async () => expect(await alice.request('GET', '/health')).toMatchObject({ body: { details } }));
});
