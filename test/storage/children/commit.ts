// Changes the storage at the first argument without end, and prints a line for each change after it was acknowledged.
// The second argument is the number that the changes start from, so that a later child goes on where one was killed.
import { sqliteStorage } from '../../../src/storage/sqlite-storage.js';
import { print } from './print.js';

const storage = sqliteStorage({ path: process.argv[2] ?? '', secret: new Uint8Array(32).fill(7) });
const error = { name: 'Error', message: 'x' };

async function change(userId: string, n: number): Promise<void> {
  const roomId = `!${n % 5}:x`;
  const text = `${n} ${'x'.repeat(n % 3_000)}`;
  const acknowledge = (kind: string): void => print(`${kind} ${userId} ${n}`);
  const event = { roomId, eventId: `$${n}` };
  await Promise.all([
    storage
      .commit(userId, {
        since: `${n}`,
        accountData: text,
        rooms: new Map([[roomId, text]]),
        lastDelivered: new Map([[roomId, { eventId: `$${n}` }]]),
        journal: { prune: 'all', add: [event] },
      })
      .then(() => acknowledge('commit')),
    storage.setCredentials({ userId, accessToken: `${n}`, deviceId: 'D' }).then(() => acknowledge('credentials')),
    storage
      .enqueueSend(userId, { txnId: `${n}`, roomId, type: 't', content: text, enqueuedAt: n })
      .then(() => acknowledge('enqueue')),
  ]);
  if (n % 3 === 0) await storage.completeSend(userId, `${n}`, `$${n}`).then(() => acknowledge('complete'));
  if (n % 7 === 0) {
    const letter = { id: `$${n}`, event: text, error, failedAt: n, attempts: 3 };
    await storage.addDeadLetter(userId, letter).then(() => acknowledge('letter'));
  }
}

async function run(userId: string): Promise<void> {
  for (let n = Number(process.argv[3]); ; n++) await change(userId, n);
}

await Promise.all(['@a:x', '@b:x', '@c:x'].map((userId) => run(userId)));
