// Opens the crypto store named by the first argument, says so or why not, and holds it until it is killed.
import { isManagerError } from '../../../src/core/errors.js';
import { openCryptoStore } from '../support/crypto-store.js';
import { print } from '../../storage/children/print.js';

try {
  await openCryptoStore({ path: process.argv[2] ?? '', secret: new Uint8Array(32).fill(7) });
  print('open');
  setInterval(() => {}, 1_000);
} catch (error) {
  print(isManagerError(error) ? error.code : String(error));
}
