/** Our own manager with one user, in a process that a test can kill. It speaks the protocol of the foreign clients. */
import { createInterface } from 'node:readline';
import { MatrixClientManager, sqliteStorage } from '../../../src/index.js';
import type { ClientEvent } from '../../../src/index.js';
import { untilMembership } from './memberships.js';

interface Open {
  readonly homeserver: string;
  readonly admin: { readonly userId: string; readonly accessToken: string };
  readonly userId: string;
  readonly store: string;
}

interface Line {
  readonly id: number;
  readonly command: 'open' | 'createRoom' | 'untilJoined' | 'rotate' | 'say';
  readonly roomId: string;
  readonly invite: string;
  readonly memberId: string;
  readonly text: string;
}

const secret = new Uint8Array(32).fill(7);
let running: { readonly manager: MatrixClientManager; readonly userId: string } | undefined;

function write(line: object): void {
  process.stdout.write(`${JSON.stringify(line)}\n`);
}

function report(event: ClientEvent): void {
  if (event.type !== 'message') return;
  const { eventId, roomId, sender, eventType: type, content, encrypted, decryption } = event;
  const read = decryption?.state === 'failed' ? { failure: decryption.reason } : { content };
  write({ event: { eventId, roomId, sender, type, encrypted, ...read } });
}

async function open({ homeserver, admin, userId, store }: Open): Promise<object> {
  const manager = new MatrixClientManager({
    homeserverUrl: homeserver,
    admin,
    storage: sqliteStorage({ path: `${store}/app.sqlite`, secret }),
    encryption: { path: `${store}/keys.sqlite`, secret, decryptionTimeoutMs: 2_000 },
  });
  running = { manager, userId };
  await manager.provisionUser({ username: userId.slice(1, userId.indexOf(':')) });
  const { deviceId } = await manager.startClient({ userId, callbacks: [report] });
  return { deviceId };
}

async function answer(line: Line): Promise<unknown> {
  if (line.command === 'open') return open(line as unknown as Open);
  if (!running) throw new Error('not open');
  const { manager, userId } = running;
  const { roomId, memberId, text, invite } = line;
  switch (line.command) {
    case 'createRoom': {
      const encryption = { type: 'm.room.encryption', state_key: '', content: { algorithm: 'm.megolm.v1.aes-sha2' } };
      const room = { preset: 'private_chat' as never, invite: [invite], initial_state: [encryption] };
      const created = await manager.withClient(userId, (client) => client.createRoom(room));
      return { roomId: created.room_id };
    }
    case 'untilJoined':
      return untilMembership(manager, userId, roomId, memberId, 'join');
    case 'rotate':
      return manager.withClient(userId, (client) => client.getCrypto()?.forceDiscardSession(roomId));
    default:
      return manager.sendMessage({ userId, roomId, text });
  }
}

createInterface({ input: process.stdin })
  .on('line', (text) => {
    const line = JSON.parse(text) as Line;
    answer(line).then(
      (result) => write({ id: line.id, result }),
      (error: unknown) => write({ id: line.id, error: String(error) }),
    );
  })
  .on('close', () => process.exit()); // the test is gone
