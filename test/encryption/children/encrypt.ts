// Encrypts without end with the SDK's machine on the keys at the first argument, and prints each event when the SDK
// has given it out: from then on it may have been sent. Rotates its session every few events.
import { EncryptionSettings, RoomId, UserId } from '@matrix-org/matrix-sdk-crypto-wasm';
import { openCryptoStore } from '../support/crypto-store.js';
import { print } from '../../storage/children/print.js';
import { olmMachineOn } from '../support/olm-machine.js';

const store = await openCryptoStore({ path: process.argv[2] ?? '', secret: new Uint8Array(32).fill(7) });
const keys = await store.openUser({ userId: '@a:x', deviceId: 'D' });
print('open');
const machine = await olmMachineOn(keys);
print(`identity ${machine.identityKeys.ed25519.toBase64()}`);
const settings = new EncryptionSettings();
settings.rotationPeriodMessages = 20n;
for (let n = 0; ; n++) {
  const roomId = new RoomId(`!${n % 3}:x`);
  await machine.shareRoomKey(roomId, [new UserId('@a:x')], settings);
  print(`event !${n % 3}:x ${await machine.encryptRoomEvent(roomId, 'm.room.message', `{"body":"${n}"}`)}`);
}
