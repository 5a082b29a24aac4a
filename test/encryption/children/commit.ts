// Changes the keys of three devices of the crypto store at the first argument without end, and prints a line for each
// change after it was complete. The second argument is the number that the changes start from.
import { openCryptoStore } from '../support/crypto-store.js';
import { print } from '../../storage/children/print.js';
import { completed, openDb } from '../support/indexed-db.js';

const store = await openCryptoStore({ path: process.argv[2] ?? '', secret: new Uint8Array(32).fill(7) });

async function run(userId: string): Promise<void> {
  const keys = await store.openUser({ userId, deviceId: 'D' });
  const db = await openDb(keys.cryptoDatabasePrefix, (db) => {
    for (const name of ['account', 'sessions', 'gone']) db.createObjectStore(name);
  });
  print(`open ${userId}`);
  for (let n = Number(process.argv[3]); ; n++) {
    const tx = db.transaction(['account', 'sessions', 'gone'], 'readwrite');
    tx.objectStore('account').put({ n, pickle: 'x'.repeat((n * 97) % 3_000) }, 'account');
    tx.objectStore('sessions').put(n, `${n % 7}`);
    tx.objectStore('gone').put(n, `${n}`);
    tx.objectStore('gone').delete(`${n - 1}`);
    await completed(tx);
    print(`complete ${userId} ${n}`);
  }
}

await Promise.all(['@a:x', '@b:x', '@c:x'].map((userId) => run(userId)));
