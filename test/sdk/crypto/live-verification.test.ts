import { MatrixEvent } from 'matrix-js-sdk';
import { expect, it } from 'vitest';
import { handleLiveEvent } from '../../../src/sdk/crypto/live-verification.js';

const verification = {
  msgtype: 'm.key.verification.request',
  body: 'verify me',
  from_device: 'E',
  methods: [],
  to: '@a:x',
};
const encrypted = { algorithm: 'm.megolm.v1.aes-sha2', ciphertext: 'x', session_id: 's', device_id: 'E' };

it('takes a live event for a verification once it can be read, and sets no timer for an encrypted one', async () => {
  const taken: string[] = [];
  const timers = (): number => process.getActiveResourcesInfo().filter((name) => name === 'Timeout').length;
  const before = timers();
  const handle = (event: MatrixEvent): MatrixEvent => {
    handleLiveEvent(event, (roomId, { eventId }) => taken.push(`${roomId} ${eventId}`));
    return event;
  };
  const eventOf = (type: string, content: object, event_id: string): MatrixEvent =>
    new MatrixEvent({ type, content, event_id, room_id: '!r:x', sender: '@b:x', origin_server_ts: 1 });
  const decryptAs = (content: object): Parameters<MatrixEvent['attemptDecryption']>[0] =>
    ({ decryptEvent: async () => ({ clearEvent: { type: 'm.room.message', content } }) }) as never;

  handle(eventOf('m.room.message', { body: 'hello' }, '$1'));
  handle(eventOf('m.room.message', verification, '$2'));
  const secret = handle(eventOf('m.room.encrypted', encrypted, '$3'));
  const late = handle(eventOf('m.room.encrypted', encrypted, '$4'));
  await late.attemptDecryption({
    decryptEvent: async () => {
      throw new Error('no key yet');
    },
  } as never);
  const known = eventOf('m.room.encrypted', encrypted, '$5');
  await known.attemptDecryption(decryptAs(verification));
  handle(known);
  expect(taken).toEqual(['!r:x $2', '!r:x $5']);
  await late.attemptDecryption(decryptAs(verification), { isRetry: true });
  await secret.attemptDecryption(decryptAs({ body: 'hello' }));
  expect(taken).toEqual(['!r:x $2', '!r:x $5', '!r:x $4']);
  expect(timers()).toBe(before);
});
