import { randomBytes } from 'node:crypto';
import { expect, inject, it } from 'vitest';
import { memoryStorage, MatrixClientManager } from '../../src/index.js';
import { Recorder } from '../support/recorder.js';

it('a room that an admin deletes while the client is stopped is gone after the resume', async () => {
  const { baseUrl, admin } = inject('synapse');
  const manager = new MatrixClientManager({ homeserverUrl: baseUrl, admin, storage: memoryStorage() });
  const { userId } = await manager.provisionUser({ username: `gone-${randomBytes(4).toString('hex')}` });
  const got = new Recorder();
  await manager.startClient({ userId, callbacks: [got.callback] });
  const gone = Promise.withResolvers<unknown>();
  manager.on('gap', (gap) => gone.resolve(gap));
  const { room_id: roomId } = await manager.withClient(userId, (client) => client.createRoom({}));
  await manager.sendMessage({ userId, roomId, text: 'hello' });
  await got.message('hello');
  await manager.stopClient(userId);
  const path = `/_synapse/admin/v2/rooms/${encodeURIComponent(roomId)}`;
  const headers = { authorization: `Bearer ${admin.accessToken}` };
  const response = await fetch(baseUrl + path, {
    method: 'DELETE',
    headers,
    body: '{"purge":true,"force_purge":true}',
  });
  expect(response.status).toBe(200);
  for (let status = ''; status !== 'complete';) {
    const answer = await fetch(`${baseUrl}${path}/delete_status`, { headers });
    ({ status } = ((await answer.json()) as { results: { status: string }[] }).results[0] ?? { status: '' });
  }
  await manager.startClient({ userId });
  expect(await gone.promise).toMatchObject({ userId, roomId, reason: 'gone' });
  expect(manager.getClient(userId)?.getRoom(roomId)).toBeNull();
  await expect(manager.getRoomMessages({ userId, roomId })).rejects.toMatchObject({ status: 403 });
  await manager.shutdown();
}, 60_000);
