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
  const rooms = `${baseUrl}/_synapse/admin/v2/rooms`;
  const headers = { authorization: `Bearer ${admin.accessToken}` };
  const deletion = await fetch(`${rooms}/${encodeURIComponent(roomId)}`, {
    method: 'DELETE',
    headers,
    body: '{"purge":true,"force_purge":true}',
  });
  const { delete_id: deleteId } = (await deletion.json()) as { delete_id: string };
  // A deletion that Synapse has not begun yet is answered 404.
  const status = async (): Promise<unknown> =>
    await (await fetch(`${rooms}/delete_status/${deleteId}`, { headers })).json();
  await expect.poll(status, { timeout: 30_000 }).toMatchObject({ status: 'complete' });
  await manager.startClient({ userId });
  expect(await gone.promise).toMatchObject({ userId, roomId, reason: 'gone' });
  expect(manager.getClient(userId)?.getRoom(roomId)).toBeNull();
  await expect(manager.getRoomMessages({ userId, roomId })).rejects.toMatchObject({ status: 403 });
  await manager.shutdown();
}, 60_000);
