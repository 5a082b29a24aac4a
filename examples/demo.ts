/**
 * `npm run demo`: the library's main job in a few seconds, on a homeserver in this process, or on yours with
 * MATRIX_HOMESERVER_URL, MATRIX_ADMIN_USER, and MATRIX_ADMIN_TOKEN or MATRIX_ADMIN_PASSWORD.
 */
import { MatrixClientManager } from 'matrix-client-manager';
import { fallAsleep, goLive, openRoom, readHistory, talk, wakeUp } from './demo/acts.js';
import { Cast } from './demo/cast.js';
import { explain } from './demo/explain.js';
import { FastClock } from './demo/fast-clock.js';
import { chapter } from './demo/narrate.js';
import { openHomeserver } from './homeserver.js';

const DEADLINE_MS = 58_000;

async function main(): Promise<void> {
  await using homeserver = await openHomeserver();
  console.log(`matrix-client-manager: two users of a backend chat, on ${homeserver.description}`);
  const clock = new FastClock();
  await using manager = new MatrixClientManager({
    homeserverUrl: homeserver.url,
    admin: homeserver.admin,
    clock,
    // Small, so that a short conversation shows what they do; the defaults are 100 events and two hours.
    timelineLimit: 5,
    idleTimeoutMs: 20_000,
    sweepIntervalMs: 1_000,
  });
  await using cast = new Cast(manager, homeserver);

  chapter('Accounts: provisionUser() makes a Matrix account with a session for a user of your application');
  const alice = await cast.provision('Alice');
  const bob = await cast.provision('Bob');

  chapter('Clients: startClient() keeps one live client per user, its callbacks attached before the first sync');
  await goLive(manager, [alice, bob]);

  chapter('A room: manager.rooms makes rooms and changes their members; nobody needs a client for that');
  const stage = { manager, clock, alice, bob, roomId: await openRoom(manager, alice, bob) };

  chapter('Messages, typing and receipts: what one user does reaches the callbacks of the other');
  await talk(stage);

  chapter(
    'History: getRoomMessages() gives pages, from memory as far as it reaches, from the homeserver beyond',
    "'synced' is the client's memory, 'rest' the homeserver's history, 'mixed' a page that took from both.",
  );
  await readHistory(stage);

  chapter(
    'Idle: a client whose user does nothing is stopped (idleTimeoutMs, 20 seconds here; the demo moves the clock)',
  );
  await fallAsleep(stage);

  chapter('Waking: what came meanwhile is delivered first, as gap-fill, and then it is live again');
  await wakeUp(stage);

  chapter('The end: both accounts are deactivated, and shutdown() leaves nothing running');
}

const deadline = setTimeout(() => {
  console.error(`\nThe demo failed: it was not through after ${DEADLINE_MS / 1000} seconds`);
  process.exit(1);
}, DEADLINE_MS);

try {
  await main();
  console.log(`\nDone in ${process.uptime().toFixed(1)} seconds.`);
} catch (error) {
  console.error(`\nThe demo failed. ${explain(error)}`);
  process.exitCode = 1;
} finally {
  clearTimeout(deadline);
}
