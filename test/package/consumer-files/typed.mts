import {
  type ClientEvent,
  isManagerError,
  MatrixClientManager,
  memoryStorage,
  systemClock,
} from 'matrix-client-manager';
import { FakeHomeserver, ManualClock, MemoryLogger } from 'matrix-client-manager/testing';
import { undiciTransport } from 'matrix-client-manager/undici';

export async function main(): Promise<string> {
  const homeserver = new FakeHomeserver();
  await homeserver.listen();
  await using manager = new MatrixClientManager({
    homeserverUrl: homeserver.baseUrl,
    admin: { userId: homeserver.admin.userId, accessToken: homeserver.admin.accessToken },
    storage: memoryStorage(),
    clock: Math.random() > 2 ? new ManualClock() : systemClock,
    logger: new MemoryLogger(),
    transport: undiciTransport({ http2: true }),
  });
  const callback = (event: ClientEvent): string => (event.type === 'message' ? event.eventId : event.type);
  const user = await manager.provisionUser({ username: 'alice' });
  await manager.startClient({ userId: user.userId, callbacks: [(event) => void callback(event)] });
  // @ts-expect-error a misspelt option is an error, so the types are not `any`
  const wrong = { idleTimeout: 1 } satisfies Partial<ConstructorParameters<typeof MatrixClientManager>[0]>;
  try {
    const page = await manager.getRoomMessages({ roomId: '!a:b', userId: user.userId, limit: 10 });
    return page.end ?? page.source;
  } catch (error) {
    return isManagerError(error, 'NOT_FOUND') ? error.code : String(wrong.idleTimeout);
  }
}
