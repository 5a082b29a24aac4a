// Opens the damaged storage at the first argument. Is killed when the file is set aside, before the damage is reported;
// with the second argument `exit`, it ends itself when it gets the report.
import { silentLogger } from '../../../src/core/logger.js';
import { sqliteStorage } from '../../../src/storage/sqlite-storage.js';

const [, , path = '', end] = process.argv;
sqliteStorage({
  path,
  secret: new Uint8Array(32).fill(7),
  logger: { ...silentLogger, error: () => end === undefined && process.kill(process.pid, 'SIGKILL') },
  onCorruption: () => process.exit(),
});
