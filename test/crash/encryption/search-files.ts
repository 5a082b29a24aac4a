import { createHash } from 'node:crypto';
import { readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { decodeRecoveryKey } from 'matrix-js-sdk/lib/crypto-api/recovery-key.js';
import type { Device } from './device.js';
import { FileSearch } from './file-search.js';
import type { Sealed } from './sealed-history.js';

/** Ratchet of an exported session, behind its version and index. */
const RATCHET = { from: 5, to: 133 };

export interface SearchedRun {
  readonly devices: readonly Device[];
  readonly admin: { readonly accessToken: string };
  readonly roomId: string;
  readonly sent: readonly Sealed[];
  readonly recoveryKeys: readonly string[];
}

export interface SearchResult {
  readonly violations: readonly string[];
  readonly files: number;
  readonly megabytes: number;
  /** Copies made at a kill with something in a write-ahead log. */
  readonly logs: number;
  /** How many things of each kind were looked for. */
  readonly lookedFor: Readonly<Record<string, number>>;
}

/**
 * Searches all files of all devices, at the end and as they were at each kill, for what must not be read there. That
 * the search finds what it looks for is proven by what does stand in the files in the end: the user's id in clear text, by
 * design, and the hash that names the device in the file of counters.
 * @param folders - each with a folder per device, whose name begins with the device's
 */
export function searchFiles(folders: readonly string[], run: SearchedRun): SearchResult {
  const secrets = secretsOf(run);
  const violations = secrets.blindFor().map((what) => `the search does not find: ${what}`);
  let [files, bytes, logs] = [0, 0, 0];
  for (const [name, folder] of folders.flatMap((folder) => entriesOf(folder))) {
    const device = run.devices.find((one) => name.split(' ')[0] === one.name);
    if (!device) throw new Error(`whose folder is ${name}?`);
    const search = secrets.in(folder);
    files += search.files;
    bytes += search.bytes;
    logs += Number((statSync(join(folder, 'keys.sqlite-wal'), { throwIfNoEntry: false })?.size ?? 0) > 0);
    violations.push(...search.found.map(({ what, file }) => `${name}/${file} holds: ${what}`));
    violations.push(...missingOf(device, name, folder), ...namesOfOthers(device, run.devices, name, folder));
  }
  return { violations, files, megabytes: Math.round(bytes / 1e6), logs, lookedFor: secrets.counts };
}

function entriesOf(folder: string): [string, string][] {
  return readdirSync(folder).map((name) => [name, join(folder, name)]);
}

function secretsOf({ devices, admin, roomId, sent, recoveryKeys }: SearchedRun): FileSearch {
  const search = new FileSearch();
  for (const part of ['"msgtype"', '"ciphertext"', '"session_key"', 'm.megolm.v1', 'm.room_key']) {
    search.text('JSON of an event', part);
  }
  search.text('room id', roomId);
  search.text('access token', admin.accessToken);
  const bodies = new Set(devices.flatMap(({ bodies }) => bodies.map(({ body }) => body)));
  for (const body of bodies) if (typeof body === 'string') search.text('message', body);
  for (const { event_id: id } of sent) search.text('event id', id);
  const sessions = sent.flatMap(({ content }) => (content.session_id === undefined ? [] : [content.session_id]));
  for (const session of new Set(sessions)) search.key('Megolm session id', session);
  for (const recoveryKey of recoveryKeys) {
    search.text('recovery key', recoveryKey);
    search.text('recovery key', recoveryKey.replaceAll(' ', ''));
    search.bytes('recovery key', decodeRecoveryKey(recoveryKey));
  }
  for (const { secret, lives, secrets } of devices) {
    search.bytes('secret of the storage', Buffer.from(secret, 'hex'));
    for (const { accessToken, ed25519, curve25519 } of lives) {
      search.text('access token', accessToken);
      search.key('identity key', ed25519);
      search.key('identity key', curve25519);
    }
    const last = secrets.at(-1);
    for (const key of last?.roomKeys ?? []) {
      search.key('room key', key);
      search.bytes('ratchet of a room key', Buffer.from(key, 'base64').subarray(RATCHET.from, RATCHET.to));
    }
    for (const key of last?.crossSigningKeys ?? []) search.key('private cross-signing key', key);
    if (last?.backupKey !== undefined) search.key('key of the backup', last.backupKey);
  }
  return search;
}

/** What stands in the files of a device by design; where that is not found, nothing would be. */
function missingOf({ userId, lives }: Device, name: string, folder: string): string[] {
  if (/ at kill /.test(name)) return []; // which may come before the device is in the file, or its counter
  const [life] = lives;
  if (!life) return [`${name} has never lived`];
  const search = new FileSearch();
  search.text('user id', userId);
  const device = createHash('sha256')
    .update(JSON.stringify([userId, life.deviceId]))
    .digest()
    .subarray(0, 16);
  search.bytes('counted device', device);
  const { found } = search.in(folder);
  const isKeyFile = (file: string): boolean => file === 'keys.sqlite' || file === 'keys.sqlite-wal';
  const hasUser = found.some(({ what, file }) => what === 'user id' && isKeyFile(file));
  const hasCounter = found.some(({ what, file }) => what === 'counted device' && file === 'keys.sqlite.counters');
  return [
    ...(hasUser ? [] : [`the search does not find the user in ${name}`]),
    ...(hasCounter ? [] : [`the search does not find the counter in ${name}`]),
  ];
}

/** Whom a user talks to is nobody's business either. */
function namesOfOthers({ userId }: Device, devices: readonly Device[], name: string, folder: string): string[] {
  const search = new FileSearch();
  const others = new Set(devices.map((one) => one.userId).filter((id) => id !== userId && id !== ''));
  for (const other of others) search.text('id of another user', other);
  return search.in(folder).found.map(({ what, file }) => `${name}/${file} holds: ${what}`);
}
