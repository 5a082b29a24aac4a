// Writes to the crypto store at the first argument until it cannot, and tells what it was told then.
import type { MatrixClientManagerError } from '../../../src/core/errors.js';
import { openCryptoStore } from '../support/crypto-store.js';
import { print } from '../../storage/children/print.js';
import { contentOf, openDb, put } from '../support/indexed-db.js';

const secret = new Uint8Array(32).fill(7);
await using store = await openCryptoStore({ path: process.argv[2] ?? '', secret });
const onFailure = (error: MatrixClientManagerError): void => print(`failure ${error.code} ${error.message}`);
const keys = await store.openUser({ userId: '@a:x', deviceId: 'D', onFailure });
const db = await openDb(keys.cryptoDatabasePrefix, (db) => void db.createObjectStore('keys'));
try {
  for (let n = 0; n < 1_000; n++) {
    await put(db, 'keys', { [`${n}`]: 'x'.repeat(50_000), last: n });
    print(`complete ${n}`);
  }
} catch (error) {
  print(`rejected ${(error as Error).name}`);
}
print(`memory ${String((await contentOf(db, 'keys'))['last'])}`);
print(
  await put(db, 'keys', { small: 1 }).then(
    () => 'taken',
    () => 'refused',
  ),
);
