/** The device that gets the messages, and one that they pretend to be from. */
export interface Pretence {
  readonly userId: string;
  readonly deviceId: string;
  readonly curve25519: string;
  readonly sender: string;
  readonly senderKey: string;
  readonly roomId: string;
}

const nested = (depth: number): unknown => JSON.parse('['.repeat(depth) + ']'.repeat(depth));
const prototype: unknown = JSON.parse('{"__proto__":{"polluted":true},"constructor":{"prototype":{"polluted":true}}}');
const lone = '\ud800';

/** Malformed messages to a device, one of each kind. */
export function malformedToDevice(pretence: Pretence): object[] {
  const { sender, senderKey, curve25519, userId, deviceId, roomId } = pretence;
  const olm = (change: object): object => ({
    type: 'm.room.encrypted',
    sender,
    content: {
      algorithm: 'm.olm.v1.curve25519-aes-sha2',
      sender_key: senderKey,
      ciphertext: { [curve25519]: { type: 1, body: 'AwogAAAA' } },
      ...change,
    },
  });
  const body = (value: unknown): object => olm({ ciphertext: { [curve25519]: value } });
  const clear = (type: unknown, content: unknown): object => ({ type, sender, content });
  const megolm = { algorithm: 'm.megolm.v1.aes-sha2', room_id: roomId, session_id: 'x', session_key: 'y' };
  return [
    // no messages at all
    ...[null, 1, 'text', true, [], {}].map((value) => ({ wrapped: value })),
    ...([null, 7, 'text', [[]]] as unknown as object[]),
    { sender },
    { type: 'm.room.encrypted' },
    { type: 'm.room.encrypted', sender },
    { type: 7, sender, content: {} },
    { type: '', sender, content: {} },
    { type: 'm.room.encrypted', sender: 7, content: {} },
    { type: 'm.room.encrypted', sender: 'no user', content: olm({}) },
    { type: 'm.room.encrypted', sender: '@:', content: {} },
    // the envelope of an Olm message
    ...[null, 7, 'text', [], nested(100), prototype].map((content) => clear('m.room.encrypted', content)),
    ...[undefined, null, 7, '', 'm.unknown', 'm.megolm.v1.aes-sha2', ['m.olm.v1.curve25519-aes-sha2']].map(
      (algorithm) => olm({ algorithm }),
    ),
    ...[undefined, null, 7, '', 'no key', curve25519, lone, `${senderKey}=`, [senderKey]].map((key) =>
      olm({ sender_key: key }),
    ),
    ...[undefined, null, 'text', [], {}, prototype, { [senderKey]: {} }].map((ciphertext) => olm({ ciphertext })),
    // the ciphertext
    ...[null, 'text', [], {}, { type: 1 }, { body: 'x' }].map(body),
    ...[-1, 2, 0.5, 2 ** 53, '1', null].map((type) => body({ type, body: 'AwogAAAA' })),
    ...['', '!', lone, 'A'.repeat(50_000), null, 7, ['x']].map((text) => body({ type: 0, body: text })),
    body({ type: 1, body: 'AwogAAAA' }),
    // messages in the clear that have to be encrypted, or have contents of wrong types
    clear('m.room_key', megolm),
    clear('m.room_key', { ...megolm, session_key: { deep: nested(50) } }),
    clear('m.forwarded_room_key', { ...megolm, forwarding_curve25519_key_chain: [7] }),
    clear('m.room_key.withheld', { ...megolm, code: 7, sender_key: [] }),
    clear('m.room_key.withheld', { ...megolm, code: 'm.no_olm', sender_key: '__proto__' }),
    clear('m.room_key.withheld', null),
    clear('m.room_key_request', { action: 'request', requesting_device_id: 7, request_id: {}, body: [] }),
    clear('m.room_key_request', { action: 'request', requesting_device_id: deviceId, request_id: 'x', body: megolm }),
    clear('m.secret.send', { request_id: 'x', secret: 'mine' }),
    clear('m.secret.request', {
      action: 'request',
      name: 'm.megolm_backup.v1',
      requesting_device_id: 'x',
      request_id: 'y',
    }),
    clear('m.dummy', []),
    clear('m.key.verification.request', null),
    clear('m.key.verification.request', { transaction_id: {}, methods: 'm.sas.v1', timestamp: 'now' }),
    clear('m.key.verification.start', { transaction_id: '__proto__', from_device: 7 }),
    clear('m.key.verification.mac', { transaction_id: 'x', mac: nested(20), keys: 7 }),
    clear('__proto__', prototype),
    clear('org.example.huge', { text: 'x'.repeat(500_000) }),
    clear('org.example.deep', { deep: nested(1_000) }),
    clear('m.room.encrypted', { ...megolm, ciphertext: 'AwgA', sender_key: senderKey, device_id: userId }),
  ];
}
