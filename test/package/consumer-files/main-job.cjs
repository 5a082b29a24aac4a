/** The main job in a few lines, with what `main` and `testing` export; used from ESM, from CommonJS and under Jest. */
async function mainJob(main, testing, path, options = {}) {
  const homeserver = new testing.FakeHomeserver();
  await homeserver.listen();
  const manager = new main.MatrixClientManager({
    homeserverUrl: homeserver.baseUrl,
    admin: { userId: homeserver.admin.userId, accessToken: homeserver.admin.accessToken },
    storage: main.sqliteStorage({ path, secret: 'a secret of thirty-two characters' }),
    ...options,
  });
  const { userId } = await manager.provisionUser({ username: 'alice', displayName: 'Alice' });
  const received = Promise.withResolvers();
  await manager.startClient({ userId, callbacks: [(event) => event.type === 'message' && received.resolve(event)] });
  const { room_id: roomId } = await manager.withClient(userId, (client) => client.createRoom({}));
  const { eventId } = await manager.sendMessage({ userId, roomId, text: 'hello' });
  const event = await received.promise;
  const page = await manager.getRoomMessages({ roomId, userId, limit: 1 });
  const refused = await manager.provisionUser({ username: 'Not Valid' }).catch((error) => error);
  await manager.shutdown();
  await homeserver.close();
  return {
    received: event.eventId === eventId,
    paged: page.messages[0]?.eventId === eventId,
    ownError: refused instanceof main.MatrixClientManagerError && refused.code,
  };
}

/** {@link mainJob} as a program: prints what came of it. */
async function program(main, testing, options) {
  process.stdout.write(JSON.stringify(await mainJob(main, testing, process.argv[2], options)));
}

module.exports = { mainJob, program };
