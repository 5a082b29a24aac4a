// Runs one device with encryption until it is killed: tells what it does and what its callback gets, and sends when
// told to.
import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { MatrixClient } from 'matrix-js-sdk';
import { MatrixClientManager, sqliteStorage } from '../../../src/index.js';
import type { Decryption, EncryptionStatus } from '../../../src/index.js';
import { keepRecoveryKey, recoveryKeysIn } from './recovery-vault.js';
import type { Activity, Secrets, WorkerCommand, WorkerLine, WorkerSpec } from './worker-protocol.js';

const ROTATE_AFTER = 7;
const POLL_MS = 50;

const spec = JSON.parse(process.argv[2] ?? '') as WorkerSpec;
const { homeserverUrl, admin, folder, username, roomId, peerId, vault, life } = spec;
const secret = Buffer.from(spec.secret, 'hex');
const print = (line: WorkerLine): void => void process.send?.(line);
const begin = (activity: Activity): void => print({ kind: 'begin', activity });
const end = (activity: Activity): void => print({ kind: 'end', activity });

async function during<T>(activity: Activity, work: () => Promise<T>): Promise<T> {
  begin(activity);
  return work().finally(() => end(activity));
}

const state = { settingUp: false, receiving: false, sending: false };

function setUpBegins(): void {
  if (state.settingUp) return;
  state.settingUp = true;
  begin('set-up');
}

interface SyncNews {
  readonly next_batch?: string;
  readonly rooms?: { readonly join?: object };
  readonly to_device?: { readonly events?: readonly unknown[] };
}

/** Tells what the requests are for, as they come and go. */
const watchedFetch: typeof globalThis.fetch = async (input, init) => {
  const { pathname, searchParams } = new URL(input instanceof Request ? input.url : input);
  const method = init?.method ?? (input instanceof Request ? input.method : 'GET');
  const request = `${method} ${pathname}`;
  if (/^(POST|PUT) .*(device_signing|signatures|room_keys\/version|account_data)/.test(request)) setUpBegins();
  if (request.includes('PUT /_matrix/client/v3/room_keys/keys')) {
    return during('upload', () => globalThis.fetch(input, init));
  }
  if (request.includes('GET /_matrix/client/v3/room_keys/keys')) {
    return during('restore', () => globalThis.fetch(input, init));
  }
  if (request.includes('/sendToDevice/')) return during('rotate', () => globalThis.fetch(input, init));
  if (!pathname.endsWith('/sync')) return globalThis.fetch(input, init);
  if (state.receiving) end('receive'); // what the sync before brought has been taken in
  state.receiving = false;
  const response = await globalThis.fetch(input, init);
  const news = (await response.clone().json()) as SyncNews;
  const keys = news.to_device?.events?.length ?? 0;
  if (keys > 0) {
    const message = `sync from ${searchParams.get('since')} to ${news.next_batch} has ${keys} messages to the device`;
    print({ kind: 'log', level: 'info', message, error: '' });
  }
  state.receiving = news.rooms?.join !== undefined || keys > 0;
  if (state.receiving) begin('receive');
  return response;
};

const identity = vault !== undefined && {
  onRecoveryKey: (_userId: string, recoveryKey: string): void => {
    setUpBegins();
    keepRecoveryKey(vault, recoveryKey);
  },
  recoveryKey: () => recoveryKeysIn(vault).at(-1),
};
/** The context has ids, and may have more: only its error is told. */
const logAs =
  (level: 'info' | 'warn' | 'error') =>
  (context: object, message: string): void =>
    print({ kind: 'log', level, message, error: 'err' in context ? String(context.err) : '' });
const manager = new MatrixClientManager({
  homeserverUrl,
  admin,
  fetch: watchedFetch,
  logger: { debug: () => {}, info: logAs('info'), warn: logAs('warn'), error: logAs('error') },
  storage: sqliteStorage({ path: join(folder, 'app.sqlite'), secret }),
  encryption: { path: join(folder, 'keys.sqlite'), secret, decryptionTimeoutMs: 10_000, ...identity },
});
process.on('disconnect', () => process.exit());
manager.on('deviceReplaced', ({ error }) => print({ kind: 'replaced', code: error.code }));
const { userId, deviceId, accessToken } = await during('provision', () => manager.provisionUser({ username }));
await during('start', () =>
  manager.startClient({
    userId,
    callbacks: [
      (event) => {
        if (event.type !== 'message') return;
        const { eventId, content } = event;
        print({ kind: 'got', eventId, body: content.body, decryption: decryptionOf(event) });
      },
    ],
  }),
);
const { ed25519, curve25519 } = await manager.encryptionStatus(userId);
print({ kind: 'live', userId, deviceId, accessToken, ed25519, curve25519 });

function decryptionOf({ decryption }: { readonly decryption?: Decryption }): string {
  return decryption?.state === 'failed' ? decryption.reason : (decryption?.state ?? 'none');
}

/** Waits until the encryption stands as it should; looks often, so that little is missed. */
async function until(stands: (status: EncryptionStatus) => boolean): Promise<EncryptionStatus> {
  for (;;) {
    const status = await manager.encryptionStatus(userId);
    if (stands(status)) return status;
    await sleep(POLL_MS);
  }
}

async function becomeReady(): Promise<void> {
  if (vault !== undefined) {
    await manager.withClient(userId, async (client) => backUpAtOnce(client));
    await until(({ crossSigned, secretStorage, backup }) => crossSigned && secretStorage && backup.enabled);
    if (state.settingUp) end('set-up');
  }
  print({ kind: 'ready' });
}

/** The SDK lets up to ten seconds pass before it uploads keys: this many clients are not to do it at once. */
function backUpAtOnce(client: MatrixClient): void {
  const { backupManager } = client.getCrypto() as unknown as { backupManager: { constructor: object } };
  Object.assign(backupManager.constructor, { maxBackupLoopStartDelayMillis: 0 });
}

/** Before, with trust in signed devices only, the peer would not be sent the keys. */
async function meet(): Promise<void> {
  for (;;) {
    const { devices } = await manager.userVerification(userId, peerId);
    if (devices.length > 0 && devices.every(({ crossSigned }) => crossSigned)) break;
    await sleep(POLL_MS);
  }
  print({ kind: 'met' });
}

async function send(): Promise<void> {
  state.sending = true;
  for (let n = 1; state.sending; n++) {
    const text = `message ${n} of ${life}: ${randomUUID()}`;
    const sent = (): Promise<{ eventId: string }> =>
      during('send', () => manager.sendMessage({ userId, roomId, text }));
    const { eventId } = n % ROTATE_AFTER === 0 ? await during('rotate', () => rotate().then(sent)) : await sent();
    print({ kind: 'sent', eventId, body: text });
  }
  print({ kind: 'quiet' });
}

async function rotate(): Promise<void> {
  await manager.withClient(userId, (client) => client.getCrypto()?.forceDiscardSession(roomId));
}

async function secrets(): Promise<Secrets> {
  return manager.withClient(userId, async (client) => {
    const crypto = client.getCrypto();
    const roomKeys = ((await crypto?.exportRoomKeys()) ?? []).map(({ session_key: key }) => key);
    if (vault === undefined) return { roomKeys, crossSigningKeys: [], backupKey: undefined };
    const bundle = await crypto?.exportSecretsBundle?.();
    const { master_key, self_signing_key, user_signing_key } = bundle?.cross_signing ?? {};
    const crossSigningKeys = [master_key, self_signing_key, user_signing_key].filter((key) => key !== undefined);
    const backupKey = await crypto?.getSessionBackupPrivateKey();
    return { roomKeys, crossSigningKeys, backupKey: backupKey ? Buffer.from(backupKey).toString('base64') : undefined };
  });
}

/** Waits until all of the backup has been read. */
async function restore(): Promise<void> {
  const { backup } = await until(({ backup: { restored } }) => restored !== undefined && isComplete(restored));
  print({ kind: 'restored', keys: backup.restored?.imported ?? 0 });
}

function isComplete({ imported, total }: { readonly imported: number; readonly total: number }): boolean {
  return total > 0 && imported === total;
}

/** Reads the room page by page, back to its beginning. */
async function history(): Promise<void> {
  const messages = [];
  for (let from: string | undefined, first = true; first || from !== undefined; first = false) {
    const page = await manager.getRoomMessages({ userId, roomId, limit: 50, ...(from !== undefined && { from }) });
    messages.push(...page.messages);
    from = page.end;
  }
  const read = messages.map((message) => {
    const { eventId, content } = message;
    return { eventId, body: content.body, decryption: decryptionOf(message) };
  });
  print({ kind: 'history', messages: read });
}

const commands: Readonly<Record<WorkerCommand, () => Promise<void> | void>> = {
  meet,
  send,
  quiet: () => void (state.sending = false),
  'back up': async () => {
    await until(({ backup }) => backup.remaining === 0);
    print({ kind: 'backed up' });
  },
  secrets: async () => print({ kind: 'secrets', secrets: await secrets() }),
  restore,
  history,
  finish: async () => {
    await manager.shutdown();
    process.disconnect();
  },
};
process.on('message', (command: WorkerCommand) => void commands[command]());
await becomeReady();
