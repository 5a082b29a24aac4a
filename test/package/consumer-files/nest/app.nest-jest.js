const { NestFactory } = require('@nestjs/core');
const { MatrixClientManagerError } = require('matrix-client-manager');
const { FakeHomeserver } = require('matrix-client-manager/testing');
const { appModule, ChatService } = require('./app.js');

test('a Nest application has managers, handlers, errors as statuses, health, and an end', async () => {
  const homeserver = new FakeHomeserver();
  const { baseUrl: homeserverUrl, admin, fetch: fetchOfHomeserver } = homeserver;
  const options = () => ({ homeserverUrl, admin, fetch: fetchOfHomeserver });
  const app = await NestFactory.create(appModule(options), { logger: false });
  app.enableShutdownHooks();
  await app.listen(0, '127.0.0.1');
  const url = await app.getUrl();
  const chat = app.get(ChatService);
  expect(chat.red).not.toBe(chat.matrix);

  const { userId } = await chat.matrix.provisionUser({ username: 'alice' });
  const bob = homeserver.createUser({ username: 'bob' });
  const roomId = homeserver.createRoom({ creator: bob.userId, members: [userId] });
  await chat.matrix.startClient({ userId });
  homeserver.sendMessage(roomId, bob.userId, 'Hello');
  await chat.until('Hello');

  chat.userId = userId;
  const page = await fetch(`${url}/page`);
  expect([page.status, await page.json()]).toEqual([
    403,
    { statusCode: 403, error: 'FORBIDDEN', message: expect.any(String) },
  ]);
  const health = await fetch(`${url}/health`);
  expect([health.status, await health.json()]).toMatchObject([
    200,
    { details: { matrix: { status: 'up', health: 'ok' } } },
  ]);

  await app.close();
  for (const manager of [chat.matrix, chat.red]) {
    const error = await manager.checkHealth().catch((failure) => failure);
    expect(error).toBeInstanceOf(MatrixClientManagerError);
    expect(error.code).toBe('MANAGER_CLOSED');
  }
  await homeserver.close();
});
