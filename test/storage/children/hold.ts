// Opens the storage named by the first argument, says so or why not, and holds it until it is killed.
import { sqliteStorage } from '../../../src/storage/sqlite-storage.js';
import { isManagerError } from '../../../src/core/errors.js';
import { print } from './print.js';

try {
  sqliteStorage({ path: process.argv[2] ?? '', secret: new Uint8Array(32).fill(7) });
  print('open');
  setInterval(() => {}, 1_000);
} catch (error) {
  print(isManagerError(error) ? error.code : String(error));
}
