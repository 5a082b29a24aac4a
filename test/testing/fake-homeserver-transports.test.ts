import { setupServer } from 'msw/node';
import { expect, it } from 'vitest';
import { FakeHomeserver } from '../../src/testing/fake-homeserver/fake-homeserver.js';
import { call, messageArrives, sdkClient, settle, started } from './fake-homeserver.support.js';

/** What every transport has to do: matrix-js-sdk starts, receives and sends, and leaves nothing behind. */
async function exchange(fake: FakeHomeserver, options: { fetchFn?: typeof fetch } = {}): Promise<void> {
  const alice = fake.createUser({ username: 'alice' });
  const bob = fake.createUser({ username: 'bob', displayName: 'Bob' });
  const roomId = fake.createRoom({ creator: alice.userId, members: [bob.userId], name: 'Room' });
  fake.sendMessage(roomId, bob.userId, 'before');
  const client = await started(sdkClient(alice, { baseUrl: fake.baseUrl, ...options }));
  expect(client.getRoom(roomId)?.name).toBe('Room');
  expect(client.getRoom(roomId)?.getMember(bob.userId)?.name).toBe('Bob');

  const arrived = messageArrives(client, 'live');
  const eventId = fake.sendMessage(roomId, bob.userId, 'live');
  expect(await arrived).toBe(eventId);
  await client.sendTextMessage(roomId, 'answer');
  expect(fake.events(roomId).at(-1)).toMatchObject({ sender: alice.userId, content: { body: 'answer' } });
  expect((await client.uploadContent('a file')).content_uri).toMatch(/^mxc:/);

  client.stopClient();
  await settle();
  expect(fake.unhandled).toEqual([]);
}

it('serves matrix-js-sdk through its fetch', async () => {
  await using fake = new FakeHomeserver();
  await exchange(fake, { fetchFn: fake.fetch });
  expect(fake.inFlight).toBe(0);
});

it('serves matrix-js-sdk on a port', async () => {
  await using fake = new FakeHomeserver();
  await fake.listen();
  expect(fake.baseUrl).toMatch(/^http:\/\/127\.0\.0\.1:\d+$/);
  await exchange(fake);
  await expect.poll(() => fake.inFlight).toBe(0);
});

it('serves matrix-js-sdk through msw', async () => {
  await using fake = new FakeHomeserver({ baseUrl: 'http://msw.test' });
  const server = setupServer(...(await fake.handlers()));
  server.listen({ onUnhandledFrame: 'error' });
  try {
    await exchange(fake);
    await expect.poll(() => fake.inFlight).toBe(0);
  } finally {
    server.close();
  }
});

it('gives up a long poll whose client leaves, on a port and in process', async () => {
  await using fake = new FakeHomeserver();
  const alice = fake.createUser();
  await fake.listen();
  for (const fetch of [globalThis.fetch, fake.fetch]) {
    const controller = new AbortController();
    const headers = { Authorization: `Bearer ${alice.accessToken}` };
    const url = `${fake.baseUrl}/_matrix/client/v3/sync`;
    const { next_batch: since } = (await (await fetch(url, { headers })).json()) as { next_batch: string };
    const poll = fetch(`${url}?since=${since}&timeout=30000`, { headers, signal: controller.signal });
    await expect.poll(() => fake.inFlight).toBe(1);
    controller.abort();
    await expect(poll).rejects.toMatchObject({ name: 'AbortError' });
    await expect.poll(() => fake.inFlight).toBe(0);
    expect(fake.requests.at(-1)).toMatchObject({ endpoint: '/sync', status: 0 });
  }
});

it('keeps what it knows over a restart, which breaks connections and long polls', async () => {
  await using fake = new FakeHomeserver();
  const alice = fake.createUser();
  await fake.listen();
  const url = `${fake.baseUrl}/_matrix/client/v3/sync`;
  const headers = { Authorization: `Bearer ${alice.accessToken}` };
  const { next_batch: since } = (await (await fetch(url, { headers })).json()) as { next_batch: string };
  const polls = [fetch, fake.fetch].map((fetch) => fetch(`${url}?since=${since}&timeout=30000`, { headers }));
  await expect.poll(() => fake.inFlight).toBe(2);
  const ended = Promise.allSettled(polls);
  fake.restart();
  for (const poll of await ended) expect(poll).toMatchObject({ reason: { message: 'fetch failed' } });
  expect(fake.inFlight).toBe(0);
  expect((await fetch(`${url}?since=${since}`, { headers })).status).toBe(200);
});

it('can be closed and listen again', async () => {
  await using fake = new FakeHomeserver();
  const first = await fake.listen();
  await fake.close();
  await expect(fetch(first)).rejects.toThrow('fetch failed');
  const second = await fake.listen();
  expect((await fetch(`${second}/_matrix/client/versions`)).status).toBe(200);
});

it('refuses to fetch anything but itself', async () => {
  await using fake = new FakeHomeserver();
  await expect(fake.fetch('https://matrix.org/_matrix/client/versions')).rejects.toThrow(
    /serves only its own base URL/,
  );
});

it('fails loudly at a path that it does not serve, in process', async () => {
  await using fake = new FakeHomeserver();
  await expect(call(fake, '/nonsense')).rejects.toThrow(
    'FakeHomeserver does not serve GET /_matrix/client/v3/nonsense',
  );
  await expect(call(fake, '/sync', { method: 'DELETE' })).rejects.toThrow('does not serve DELETE');
  expect(fake.unhandled).toHaveLength(2);
});

it('blames no other request for one that it does not serve', async () => {
  await using fake = new FakeHomeserver();
  const alice = fake.createUser();
  const token = alice.accessToken;
  const { next_batch: since } = (await call(fake, '/sync', { token })).body;
  const poll = call(fake, `/sync?since=${since}&timeout=30000`, { token });
  await expect(call(fake, '/nonsense')).rejects.toThrow('does not serve');
  fake.createRoom({ creator: alice.userId });
  expect((await poll).status).toBe(200);
});

it('fails loudly at a path that it does not serve, through msw', async () => {
  await using fake = new FakeHomeserver({ baseUrl: 'http://msw.test' });
  const server = setupServer(...(await fake.handlers()));
  server.listen();
  try {
    const response = await fetch('http://msw.test/_matrix/client/v3/nonsense');
    expect(response.status).toBe(500);
    expect(await response.text()).toContain('FakeHomeserver does not serve GET /_matrix/client/v3/nonsense');
  } finally {
    server.close();
  }
});

it('answers like Synapse at a path that it does not serve where it cannot throw, and notes it', async () => {
  await using fake = new FakeHomeserver({ onUnhandled: 'record' });
  const unrecognized = { errcode: 'M_UNRECOGNIZED', error: 'Unrecognized request' };
  expect(await call(fake, '/nonsense')).toMatchObject({ status: 404, body: unrecognized });
  expect(await call(fake, '/sync', { method: 'DELETE' })).toMatchObject({ status: 405, body: unrecognized });
  expect(fake.unhandled).toEqual([
    { method: 'GET', path: '/_matrix/client/v3/nonsense' },
    { method: 'DELETE', path: '/_matrix/client/v3/sync' },
  ]);
});

it('decodes ids in paths once, slashes and percent signs included', async () => {
  await using fake = new FakeHomeserver();
  const alice = fake.createUser({ username: 'a/b+c=d' });
  const roomId = fake.createRoom({ creator: alice.userId });
  const path = `/rooms/${encodeURIComponent(roomId)}/state/org.test/${encodeURIComponent('50%25/x')}`;
  const token = alice.accessToken;
  expect((await call(fake, path, { method: 'PUT', token, body: { a: 1 } })).status).toBe(200);
  expect(fake.events(roomId).at(-1)).toMatchObject({ stateKey: '50%25/x', sender: '@a/b+c=d:hs.test' });
});
