// Fills the storage at the first argument until it fails, prints how, and whether it then still does what fits.
import { isManagerError } from '../../../src/core/errors.js';
import { sqliteStorage } from '../../../src/storage/sqlite-storage.js';
import { print } from './print.js';

try {
  const storage = sqliteStorage({ path: process.argv[2] ?? '', secret: new Uint8Array(32).fill(7) });
  await storage.commit('@a:x', { since: 'first' });
  let n = 0;
  try {
    for (; n < 10_000; n++)
      await storage.commit('@a:x', { since: `${n}`, rooms: new Map([[`!${n}:x`, 'x'.repeat(10_000)]]) });
  } catch (error) {
    print(isManagerError(error) ? `${error.code} ${error.cause instanceof Error}` : String(error));
  }
  const { since, rooms } = await storage.loadCheckpoint('@a:x');
  print(`${since === `${n - 1}`} ${rooms.size === n}`);
  await storage.close();
} catch (error) {
  print(isManagerError(error) ? error.code : String(error));
}
