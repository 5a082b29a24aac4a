// Makes one storage file after another in the folder of the first argument, each with one value, and prints each name.
import { join } from 'node:path';
import { sqliteStorage } from '../../../src/storage/sqlite-storage.js';
import { print } from './print.js';

for (let n = 0; ; n++) {
  print(`${n}`);
  const storage = sqliteStorage({ path: join(process.argv[2] ?? '', `${n}`), secret: new Uint8Array(32).fill(7) });
  await storage.commit('@a:x', { since: 's1' });
  print(`${n} done`);
  await storage.close();
}
