/**
 * How a host application tests its own code without a homeserver: FakeHomeserver answers through msw, a ManualClock
 * moves the hours, a MemoryLogger keeps what was logged. (msw 2 calls `onUnhandledFrame` `onUnhandledRequest`.)
 */
import { MatrixClientManager } from 'matrix-client-manager';
import { FakeHomeserver, ManualClock, MemoryLogger } from 'matrix-client-manager/testing';
import { setupServer } from 'msw/node';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { Notifier } from './host-app/notifier.js';

const HOURS = 3_600_000;

// The homeserver and the manager share the clock: a long poll of 30 seconds takes no time.
const clock = new ManualClock();
const homeserver = new FakeHomeserver({ baseUrl: 'http://chat.test', serverName: 'chat.test', clock });
const mswServer = setupServer(...(await homeserver.handlers()));

let logger: MemoryLogger;
let manager: MatrixClientManager;
let pushed: string[];
let notifier: Notifier;

beforeEach(() => {
  mswServer.listen({ onUnhandledFrame: 'error' });
  logger = new MemoryLogger();
  manager = new MatrixClientManager({
    homeserverUrl: 'http://chat.test',
    admin: { userId: homeserver.admin.userId, accessToken: homeserver.admin.accessToken },
    clock,
    logger,
  });
  pushed = [];
  notifier = new Notifier(manager, async (userId, text) => {
    pushed.push(`to ${userId}: ${text}`);
  });
});

afterEach(async () => {
  await manager.shutdown();
  homeserver.faults.clear();
  mswServer.close();
});

test('notifies a user of what others write, and not of what they write themselves', async () => {
  const alice = await notifier.signIn('alice');
  const bob = await notifier.signIn('bob');
  const roomId = homeserver.createRoom({ creator: alice, members: [bob] });

  await manager.sendMessage({ userId: alice, roomId, text: 'Hello Bob' });

  await vi.waitFor(() => expect(pushed).toEqual([`to ${bob}: ${alice}: Hello Bob`]));
});

test('a user who comes back is notified of what was written meanwhile', async () => {
  const carol = await notifier.signIn('carol');
  const dave = homeserver.createUser({ username: 'dave' }).userId;
  const roomId = homeserver.createRoom({ creator: dave, members: [carol] });

  await clock.advance(2.1 * HOURS); // idleTimeoutMs is two hours
  expect(manager.hasClient(carol)).toBe(false);
  homeserver.sendMessage(roomId, dave, 'Are you there?');
  expect(pushed).toEqual([]);

  await notifier.signIn('carol');
  await vi.waitFor(() => expect(pushed).toEqual([`to ${carol}: ${dave}: Are you there?`]));
});

test('an outage is logged without any secret, and ends by itself', async () => {
  const erin = await notifier.signIn('erin');
  const frank = homeserver.createUser({ username: 'frank' }).userId;
  const roomId = homeserver.createRoom({ creator: frank, members: [erin] });
  const { accessToken } = await manager.provisionUser({ username: 'erin' });

  const over = homeserver.faults.status({ endpoint: '/sync' }, { status: 503 });
  await clock.advance(60_000);
  expect(manager.clientInfo(erin)?.state).toBe('reconnecting');
  expect(logger.entries).toContainEqual(
    expect.objectContaining({ level: 'warn', message: 'sync failed, trying again' }),
  );
  expect(JSON.stringify(logger.entries)).not.toContain(accessToken);

  homeserver.sendMessage(roomId, frank, 'Back?');
  over();
  await clock.advance(60_000);
  await vi.waitFor(() => expect(pushed).toEqual([`to ${erin}: ${frank}: Back?`]));
  expect(manager.clientInfo(erin)?.state).toBe('live');
});
