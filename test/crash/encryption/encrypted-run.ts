import { fork } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { World } from '../../../src/testing/contracts/homeserver/world.js';
import type { TestUser } from '../../../src/testing/contracts/homeserver/test-user.js';
import type { CrashHomeserver } from '../homeserver.js';
import { Random } from '../random.js';
import type { WorkerCommand, WorkerLine, WorkerSpec } from './worker.js';

export interface EncryptedResult {
  readonly violations: string[];
  readonly kills: number;
  readonly messages: number;
  readonly sessions: number;
  /** Deliveries of what had been delivered before: unfinished when the process was killed. */
  readonly repeats: number;
}

const LIVE_MS = 60_000;

/** One device, in processes of its own, one after the other. */
class Device {
  readonly #spec: Omit<WorkerSpec, 'life'>;
  readonly name: string;
  readonly got = new Map<string, string[]>();
  readonly identities = new Set<string>();
  replaced = 0;
  #child: ChildProcess | undefined;
  #lives = 0;
  #lines: ((line: WorkerLine) => void)[] = [];

  constructor(name: string, spec: Omit<WorkerSpec, 'life'>) {
    this.name = name;
    this.#spec = spec;
    mkdirSync(spec.folder, { recursive: true });
  }

  start(): void {
    const script = fileURLToPath(new URL('worker.ts', import.meta.url));
    const spec: WorkerSpec = { ...this.#spec, life: `${this.name}${++this.#lives}` };
    const child = fork(script, [JSON.stringify(spec)], { execArgv: ['--no-warnings', '--import', 'tsx'] });
    this.#child = child;
    child.on('message', (line: WorkerLine) => {
      if (line.kind === 'got') this.got.set(line.eventId, [...(this.got.get(line.eventId) ?? []), line.decryption]);
      if (line.kind === 'live') this.identities.add(`${line.deviceId} ${line.identity}`);
      if (line.kind === 'replaced') this.replaced++;
      for (const look of this.#lines) look(line);
    });
  }

  command(command: WorkerCommand): void {
    this.#child?.send(command, () => {});
  }

  async kill(): Promise<void> {
    const child = this.#child;
    if (!child || child.exitCode !== null || child.signalCode !== null) return;
    const exit = once(child, 'exit');
    child.kill('SIGKILL');
    await exit;
  }

  async finish(): Promise<void> {
    const exit = once(this.#child as ChildProcess, 'exit');
    this.command('finish');
    await exit;
  }

  /** Resolves with a line that `matches`; rejects when it does not come. */
  async line(matches: (line: WorkerLine) => boolean): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    const look = (line: WorkerLine): void => {
      if (matches(line)) resolve();
    };
    this.#lines.push(look);
    const timeout = new AbortController();
    const late = sleep(LIVE_MS, undefined, { signal: timeout.signal }).then(() => {
      throw new Error(`${this.name} did not tell what was waited for in ${LIVE_MS} ms`);
    });
    late.catch(() => {});
    await Promise.race([promise, late]).finally(() => timeout.abort());
    this.#lines = this.#lines.filter((one) => one !== look);
  }

  async live(): Promise<void> {
    const live = this.line(({ kind }) => kind === 'live');
    this.start();
    await live;
  }
}

/**
 * Two users talk in an encrypted room whose sessions change all the time, each in a process that is killed at random:
 * while it makes its first keys, sends, receives and changes sessions. In the end a new device joins in while one of
 * them is away. Everybody must have read everything, and no message key may have been used twice.
 */
export async function encryptedRun(
  homeserver: CrashHomeserver,
  { seed, rounds }: { readonly seed: number; readonly rounds: number },
): Promise<EncryptedResult> {
  const random = new Random(seed);
  const { homeserverUrl, admin } = homeserver;
  const root = mkdtempSync(join(tmpdir(), 'mcm-encryption-'));
  const serverName = admin.userId.slice(admin.userId.indexOf(':') + 1);
  const world = new World({ baseUrl: homeserverUrl, serverName, admin: { ...admin, password: '' } });
  const [alice, bob] = await world.newUsers();
  const content = { algorithm: 'm.megolm.v1.aes-sha2', rotation_period_msgs: 5 };
  const roomId = await alice.createRoom([bob], {
    initial_state: [{ type: 'm.room.encryption', state_key: '', content }],
  });
  const device = (name: string, { username }: TestUser): Device =>
    new Device(name, { homeserverUrl, admin, folder: join(root, name), username, roomId });
  const [a, b, c] = [device('a', alice), device('b', bob), device('c', bob)];
  let kills = 0;
  try {
    for (let n = 0; n < Math.min(6, rounds); n++) {
      const one = random.pick([a, b]);
      one.start();
      await sleep(random.whole(400, 1_500)); // into the first start, by and large
      await one.kill();
      kills++;
    }
    await Promise.all([a.live(), b.live()]);
    for (const one of [a, b]) one.command('send');
    for (let n = 0; n < rounds; n++) {
      await sleep(random.whole(0, 400));
      const one = random.pick([a, b]);
      await one.kill();
      kills++;
      await sleep(random.whole(0, 200)); // the other one goes on
      if (random.chance(0.8)) await one.live();
      else {
        one.start(); // and killed again on its way
        await sleep(random.whole(300, 1_000));
        await one.kill();
        kills++;
        await one.live();
      }
      one.command('send');
    }
    await a.kill();
    kills++;
    await c.live();
    c.command('send');
    await c.line(({ kind }) => kind === 'sent');
    await quiet([b, c]);
    await a.live();
    const sent = await history(alice, roomId);
    const readers = [a, b];
    const deadline = Date.now() + LIVE_MS;
    const isMissing = (): boolean =>
      readers.some((one) => sent.some(({ event_id: id }) => !one.got.has(id))) && Date.now() < deadline;
    while (isMissing()) await sleep(50);
    await Promise.all([a.finish(), b.finish(), c.finish()]);
    const found = leaks(root, [roomId, 'm.text', ...sent.map(({ event_id: id }) => id)]);
    const violations = [...readers.flatMap((one) => violationsOf(one, sent)), ...reused(sent), ...found];
    const repeats = readers.flatMap(({ got }) => [...got.values()]).filter(({ length }) => length > 1).length;
    const sessions = new Set(sent.map(({ content }) => content.session_id)).size;
    return { violations, kills, messages: sent.length, sessions, repeats };
  } finally {
    await Promise.all([a, b, c].map((one) => one.kill()));
    rmSync(root, { recursive: true });
  }
}

async function quiet(devices: readonly Device[]): Promise<void> {
  const quieted = devices.map((one) => one.line(({ kind }) => kind === 'quiet'));
  for (const one of devices) one.command('quiet');
  await Promise.all(quieted);
}

interface Sealed {
  readonly event_id: string;
  readonly type: string;
  readonly content: { readonly session_id?: string; readonly ciphertext?: string };
}

async function history(user: TestUser, roomId: string): Promise<Sealed[]> {
  const events: Sealed[] = [];
  for (let from: string | undefined, first = true; first || from !== undefined; first = false) {
    const page = await user.messages(roomId, { limit: 100, ...(from !== undefined && { from }) });
    events.push(...(page.chunk as unknown as Sealed[]));
    from = page.end;
  }
  return events.filter(({ type }) => type.startsWith('m.room.message') || type === 'm.room.encrypted');
}

function violationsOf({ name, got, identities, replaced }: Device, sent: readonly Sealed[]): string[] {
  const missing = sent.filter(({ event_id: id }) => !got.has(id)).map(({ event_id: id }) => `${name} misses ${id}`);
  const failed = [...got].filter(([, results]) => results.some((result) => result !== 'decrypted'));
  return [
    ...missing,
    ...failed.map(([id, results]) => `${name} could not read ${id}: ${results.join(', ')}`),
    ...(identities.size === 1 ? [] : [`${name} had ${identities.size} identities`]),
    ...(replaced === 0 ? [] : [`${name} was replaced`]),
  ];
}

/** Messages in the clear, and message keys that were used twice. */
function reused(sent: readonly Sealed[]): string[] {
  const used = new Map<string, string>();
  const violations: string[] = [];
  for (const { event_id: id, type, content } of sent) {
    if (type !== 'm.room.encrypted') violations.push(`${id} was sent in the clear`);
    const key = `${content.session_id} ${messageIndex(content.ciphertext ?? '')}`;
    if (used.has(key)) violations.push(`${id} and ${used.get(key)} have the same key`);
    used.set(key, id);
  }
  return violations;
}

/** @see https://gitlab.matrix.org/matrix-org/olm/-/blob/master/docs/megolm.md#message-format */
function messageIndex(ciphertext: string): number {
  const bytes = Buffer.from(ciphertext, 'base64');
  if (bytes[0] !== 3 || bytes[1] !== 0x08) throw new Error('this is no Megolm message');
  let [index, shift, at] = [0, 0, 2];
  for (let byte = 0x80; byte >= 0x80; shift += 7) {
    byte = bytes[at++] ?? 0;
    index += (byte & 0x7f) * 2 ** shift;
  }
  return index;
}

/** Texts that stand readable in the files of keys. */
function leaks(root: string, texts: readonly string[]): string[] {
  return readdirSync(root).flatMap((name) =>
    readdirSync(join(root, name))
      .filter((file) => file.startsWith('keys.sqlite'))
      .flatMap((file) => {
        const bytes = readFileSync(join(root, name, file));
        return texts.filter((text) => bytes.includes(text)).map((text) => `${name}/${file} holds ${text}`);
      }),
  );
}
