// Runs one device with encryption until it is killed: tells what its callback gets, and sends when told to.
import { join } from 'node:path';
import { MatrixClientManager, sqliteStorage } from '../../../src/index.js';

/** What a worker is started with. */
export interface WorkerSpec {
  readonly homeserverUrl: string;
  readonly admin: { readonly userId: string; readonly accessToken: string };
  readonly folder: string;
  readonly username: string;
  readonly roomId: string;
  /** Begins the texts that it sends. */
  readonly life: string;
}

export type WorkerLine =
  | { readonly kind: 'live'; readonly userId: string; readonly deviceId: string; readonly identity: string }
  | { readonly kind: 'got'; readonly eventId: string; readonly body: unknown; readonly decryption: string }
  | { readonly kind: 'sent'; readonly eventId: string }
  | { readonly kind: 'quiet' }
  | { readonly kind: 'replaced' };

export type WorkerCommand = 'send' | 'quiet' | 'finish';

const ROTATE_AFTER = 7;

const spec = JSON.parse(process.argv[2] ?? '') as WorkerSpec;
const { homeserverUrl, admin, folder, username, roomId, life } = spec;
const secret = new Uint8Array(32).fill(7);
const print = (line: WorkerLine): void => void process.send?.(line);

const manager = new MatrixClientManager({
  homeserverUrl,
  admin,
  storage: sqliteStorage({ path: join(folder, 'app.sqlite'), secret }),
  encryption: { path: join(folder, 'keys.sqlite'), secret, decryptionTimeoutMs: 10_000 },
});
manager.on('deviceReplaced', () => print({ kind: 'replaced' }));
const { userId, deviceId } = await manager.provisionUser({ username });
await manager.startClient({
  userId,
  callbacks: [
    (event) => {
      if (event.type !== 'message') return;
      const { eventId, content, decryption } = event;
      const result = decryption?.state === 'failed' ? decryption.reason : (decryption?.state ?? 'none');
      print({ kind: 'got', eventId, body: content.body, decryption: result });
    },
  ],
});
const identity = await manager.withClient(
  userId,
  async (client) => (await client.getCrypto()?.getOwnDeviceKeys())?.ed25519,
);
print({ kind: 'live', userId, deviceId, identity: identity ?? '' });

process.on('disconnect', () => process.exit());

const sending = { on: false };
async function send(): Promise<void> {
  sending.on = true;
  for (let n = 1; sending.on; n++) {
    const { eventId } = await manager.sendMessage({ userId, roomId, text: `${life}.${n}` });
    print({ kind: 'sent', eventId });
    if (n % ROTATE_AFTER !== 0) continue;
    await manager.withClient(userId, (client) => client.getCrypto()?.forceDiscardSession(roomId));
  }
  print({ kind: 'quiet' });
}

process.on('message', (command: WorkerCommand) => {
  if (command === 'send') void send();
  else if (command === 'quiet') sending.on = false;
  else void manager.shutdown().then(() => process.disconnect());
});
