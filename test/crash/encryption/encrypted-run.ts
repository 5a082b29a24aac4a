import { randomBytes } from 'node:crypto';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { World } from '../../../src/testing/contracts/homeserver/world.js';
import type { TestUser } from '../../../src/testing/contracts/homeserver/test-user.js';
import type { CrashHomeserver } from '../homeserver.js';
import { Random } from '../random.js';
import { deliveryViolations, differingTexts, KEY_IS_LATE, unreadBy, untilDelivered } from './delivery-checks.js';
import { Device } from './device.js';
import type { Phase } from './phases.js';
import { publishedIdentity } from './published-identity.js';
import { recoveryKeysIn } from './recovery-vault.js';
import { RunLog } from './run-log.js';
import { reused, sealedHistory } from './sealed-history.js';
import type { Sealed } from './sealed-history.js';
import { searchFiles } from './search-files.js';
import type { SearchResult } from './search-files.js';
import { asViolations } from './violation.js';
import type { Violation } from './violation.js';
import type { Activity } from './worker-protocol.js';

export interface EncryptedRunOptions {
  readonly seed: number;
  readonly rounds: number;
  /** Whether users have cross-signing keys, secret storage and a key backup, and trust only who has. */
  readonly identities: boolean;
}

export interface EncryptedResult {
  readonly violations: readonly Violation[];
  /** What all workers told; undefined if nothing was wrong, and the file is removed. */
  readonly logPath: string | undefined;
  readonly kills: number;
  /** What the kills fell into. */
  readonly killedIn: readonly Phase[];
  readonly messages: number;
  readonly sessions: number;
  /** Deliveries of what had been delivered before: unfinished when the process was killed. */
  readonly repeats: number;
  /**
   * Messages that were delivered as undecryptable because their key came after the time limit. That is no violation:
   * on a slow machine it is what has to happen. In the end all of them must be readable.
   */
  readonly keysAfterDeadline: number;
  /** Recovery keys made, in all: more than one a user where a kill came before anything relied on it. */
  readonly recoveryKeys: number;
  /** What the device that joined could not read when it came: others did not know of it, or it was not signed yet. */
  readonly unreadAtFirst: number;
  /** Messages that new devices have read from the backup. */
  readonly restored: number;
  readonly search: Omit<SearchResult, 'violations'>;
}

const FIRST_KILLS = 6;
const SET_UP_KILLS = 8;
const OF_NEW_DEVICE = 8;
const SECRET_BYTES = 32;

/**
 * Two users talk in an encrypted room whose sessions change all the time, each in a process that is killed again and
 * again: while it makes its first keys and its identity, sends, receives, changes sessions and backs up. In the end a
 * new device joins in while one of them is away. Everybody must have been told of every message and must be able to read
 * it in the end, no message key may have been used twice, and nothing may stand readable in a file. With identities,
 * another new device must be able to read all of it by the recovery key.
 *
 * If anything is wrong, or the run does not come to its end, the log of its workers is kept.
 */
export async function encryptedRun(
  homeserver: CrashHomeserver,
  options: EncryptedRunOptions,
): Promise<EncryptedResult> {
  const log = new RunLog();
  try {
    const result = await loggedRun(homeserver, options, log);
    if (result.violations.length === 0) {
      log.remove();
      return { ...result, logPath: undefined };
    }
    for (const { kind, text } of result.violations) log.add(`WRONG: ${kind}: ${text}`);
    return { ...result, logPath: log.path };
  } catch (error) {
    throw new Error(`${error instanceof Error ? error.message : String(error)}; log: ${log.path}`, { cause: error });
  }
}

async function loggedRun(
  homeserver: CrashHomeserver,
  { seed, rounds, identities }: EncryptedRunOptions,
  log: RunLog,
): Promise<Omit<EncryptedResult, 'logPath'>> {
  const random = new Random(seed);
  const { homeserverUrl, admin } = homeserver;
  const root = mkdtempSync(join(tmpdir(), 'mcm-encryption-'));
  const [files, copies, vaults] = ['files', 'copies', 'vaults'].map((name) => join(root, name)) as [
    string,
    string,
    string,
  ];
  for (const folder of [copies, vaults]) mkdirSync(folder);
  const serverName = admin.userId.slice(admin.userId.indexOf(':') + 1);
  const world = new World({ baseUrl: homeserverUrl, serverName, admin: { ...admin, password: '' } });
  const [alice, bob] = await world.newUsers();
  const roomId = await encryptedRoom(alice, bob);
  const vaultOf = ({ username }: TestUser): string => join(vaults, username);
  const device = (name: string, user: TestUser): Device => {
    const spec = {
      homeserverUrl,
      admin,
      folder: join(files, name),
      secret: randomBytes(SECRET_BYTES).toString('hex'),
      username: user.username,
      roomId,
      peerId: (user === alice ? bob : alice).userId,
      ...(identities && { vault: vaultOf(user) }),
    };
    return new Device(name, spec, copies, (line) => log.add(line));
  };
  const [a, b, c] = [device('a', alice), device('b', bob), device('c', bob)];
  const devices = [a, b, c];
  try {
    await killWhileStarting(random, [a, b], Math.min(FIRST_KILLS, rounds + 1), ['provision', 'start', 'start']);
    if (identities) await killWhileStarting(random, [a, b], Math.min(SET_UP_KILLS, rounds), ['set-up']);
    await Promise.all([a.up(), b.up()]);
    if (identities) await Promise.all([a.ask('meet', 'met'), b.ask('meet', 'met')]);
    for (const one of [a, b]) one.command('send');
    await killWhileTalking(random, [a, b], rounds, identities);
    await a.kill();
    await killWhileStarting(random, [c], Math.min(3, rounds), identities ? ['start', 'set-up', 'restore'] : ['start']);
    await c.up();
    c.command('send');
    for (let n = 0; n < OF_NEW_DEVICE; n++) await c.line('sent'); // enough for a new session
    for (const one of [b, c]) await one.ask('quiet', 'quiet');
    await a.up();
    const sent = await sealedHistory(alice, roomId);
    await untilDelivered([a, b], sent);
    const violations = [
      ...[a, b].flatMap((one) => deliveryViolations(one, sent)),
      ...asViolations('reused or missing encryption', reused(sent)),
    ];
    for (const one of [a, b]) violations.push(...(await unreadBy(one, sent)));
    for (const one of devices) await one.ask('secrets', 'secrets');
    let restored = 0;
    if (identities) {
      for (const one of devices) await one.ask('back up', 'backed up');
      violations.push(...(await unreadBy(c, sent)));
      await Promise.all(devices.map((one) => one.finish()));
      const owners = [
        { user: alice, own: [a], fresh: device('d', alice) },
        { user: bob, own: [b, c], fresh: device('e', bob) },
      ];
      for (const { user, own, fresh } of owners) {
        devices.push(fresh);
        const { read, violations: found } = await joinedByRecoveryKey(user, own, fresh, sent, vaultOf(user));
        violations.push(...found);
        restored += read;
      }
    } else {
      await Promise.all(devices.map((one) => one.finish()));
    }
    violations.push(...differingTexts(devices));
    const recoveryKeys = [alice, bob].flatMap((user) => recoveryKeysIn(vaultOf(user)));
    const { violations: readable, ...search } = searchFiles([files, copies], {
      devices,
      admin,
      roomId,
      sent,
      recoveryKeys,
    });
    return {
      violations: [...violations, ...asViolations('readable file', readable)],
      kills: devices.reduce((sum, one) => sum + one.kills, 0),
      killedIn: devices.flatMap(({ killedIn }) => killedIn),
      messages: sent.length,
      sessions: new Set(sent.map(({ content }) => content.session_id)).size,
      repeats: [a, b].flatMap(({ got }) => [...got.values()]).filter(({ length }) => length > 1).length,
      keysAfterDeadline: [a, b]
        .flatMap(({ got }) => [...got.values()])
        .filter((results) => results.includes(KEY_IS_LATE)).length,
      recoveryKeys: recoveryKeys.length,
      unreadAtFirst: [...c.got.values()].filter((results) => !results.includes('decrypted')).length,
      restored,
      search,
    };
  } finally {
    await Promise.all(devices.map((one) => one.kill()));
    rmSync(root, { recursive: true });
  }
}

function encryptedRoom(alice: TestUser, bob: TestUser): Promise<string> {
  const content = { algorithm: 'm.megolm.v1.aes-sha2', rotation_period_msgs: 5 };
  return alice.createRoom([bob], {
    initial_state: [{ type: 'm.room.encryption', state_key: '', content }],
  });
}

async function killWhileStarting(
  random: Random,
  devices: readonly Device[],
  kills: number,
  activities: readonly Activity[],
): Promise<void> {
  for (let n = 0; n < kills; n++) {
    const one = random.pick(devices.filter(({ ready }) => !ready));
    if (!one) return;
    one.start();
    await one.killIn(random.pick(activities), random.whole(0, random.pick([30, 150, 400])));
  }
}

/** Kills one of two that send to each other, at any moment or while it does something; the other one goes on. */
async function killWhileTalking(
  random: Random,
  devices: readonly Device[],
  rounds: number,
  identities: boolean,
): Promise<void> {
  const aims: readonly (Activity | undefined)[] = ['send', 'receive', 'rotate', identities ? 'upload' : 'receive'];
  for (let n = 0; n < rounds; n++) {
    await sleep(random.whole(0, 400));
    const one = random.pick(devices);
    const aim = random.pick([undefined, undefined, ...aims]);
    await (aim ? one.killIn(aim, random.whole(0, 30)) : one.kill());
    await sleep(random.whole(0, 200));
    if (random.chance(0.2)) {
      one.start(); // and killed again on its way
      await one.killIn('start', random.whole(0, 400));
    }
    await one.up();
    one.command('send');
  }
}

/** A new device of a user, with nothing but the recovery key: it must be one of theirs, and read all that there is. */
async function joinedByRecoveryKey(
  user: TestUser,
  own: readonly Device[],
  fresh: Device,
  sent: readonly Sealed[],
  vault: string,
): Promise<{ readonly read: number; readonly violations: Violation[] }> {
  const [before, keysBefore] = [await publishedIdentity(user), recoveryKeysIn(vault).length];
  await fresh.up();
  await fresh.ask('restore', 'restored');
  const unread = await unreadBy(fresh, sent, 0);
  await fresh.ask('secrets', 'secrets');
  await fresh.finish();
  const after = await publishedIdentity(user);
  const ids = [...own, fresh].map(({ lives }) => lives.at(-1)?.deviceId ?? '');
  const { name } = fresh;
  return {
    read: sent.length - unread.length,
    violations: [
      ...asViolations('identity', [
        ...after.violations,
        ...(before.master === after.master ? [] : [`${name} has replaced the identity of ${user.userId}`]),
        ...(recoveryKeysIn(vault).length === keysBefore ? [] : [`${name} has made a new recovery key`]),
        ...ids.filter((id) => !after.signedDevices.includes(id)).map((id) => `${user.userId} has not signed ${id}`),
        ...(after.signers.length > 0 ? [] : [`no device of ${user.userId} has signed their identity`]),
      ]),
      ...unread,
    ],
  };
}
