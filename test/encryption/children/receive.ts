// Receives messages without end on a device of the crypto store at the first argument, and prints a line for each one
// after it may be delivered.
import { ReceivedMessages } from '../../../src/encryption/received-messages.js';
import { print } from '../../storage/children/print.js';
import { openCryptoStore } from '../support/crypto-store.js';

const store = await openCryptoStore({ path: process.argv[2] ?? '', secret: new Uint8Array(32).fill(7) });
const received = new ReceivedMessages(await store.openUser({ userId: '@a:x', deviceId: 'D' }));
for (let index = 0; ; index++) {
  const place = { roomId: '!r:x', senderId: '@b:x', sessionId: 's', index };
  if (await received.isReplay(place, `$${index}`)) throw new Error('a replay');
  print(`delivered ${index}`);
}
