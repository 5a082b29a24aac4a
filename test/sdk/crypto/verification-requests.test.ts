import { describe, expect, it } from 'vitest';
import { alice, bob, roomId, settle, verificationLibrary } from './support/verification-library.js';

const never = () => new Promise<never>(() => {});

describe('requests for a verification', () => {
  it('of many unknown devices hold up a sync for five seconds in all', async () => {
    const { clock, keys, know, queries, requests, asked, sync, toDevice } = verificationLibrary();
    keys.answer = async (userId) => (userId === alice ? know(alice) : never());
    const others = Array.from({ length: 50 }, (_, n) => toDevice(`@user${n}:x`, `t${n}`));
    let isDone = false;
    const done = sync(...others, toDevice(alice, 'of Alice')).then(() => (isDone = true));
    await settle();
    expect(queries).toHaveLength(51);
    await clock.advance(4_999);
    expect(isDone).toBe(false);
    await clock.advance(1);
    await done;
    expect(requests.map(({ transactionId }) => transactionId)).toEqual(['of Alice']);
    await settle();
    expect(asked.filter(({ answer }) => answer === 'cancelled')).toHaveLength(50);
  });

  it('of unknown devices in sync after sync hold them up for fifteen seconds in all', async () => {
    const { clock, keys, know, queries, requests, sync, toDevice } = verificationLibrary();
    know(alice);
    keys.answer = never;
    for (let n = 0; n < 5; n++) {
      const done = sync(toDevice(`@user${n}:x`, `t${n}`));
      await settle();
      await clock.advance(n < 3 ? 5_000 : 0);
      await done;
    }
    expect(queries).toHaveLength(3);
    await sync(toDevice(alice, 'of Alice'));
    expect(requests.map(({ transactionId }) => transactionId)).toEqual(['of Alice']);
    await clock.advance(600_000);
    const later = sync(toDevice('@later:x', 'later'));
    await settle();
    expect(queries).toHaveLength(4);
    await clock.advance(5_000);
    await later;
  });

  it('of an unknown device end no older one', async () => {
    const { clock, know, keys, requests, sync, toDevice } = verificationLibrary();
    know(alice);
    await sync(toDevice(alice, 'first'));
    keys.answer = never;
    const second = sync(toDevice(alice, 'second', 'UNKNOWN'));
    await settle();
    expect(requests[0]?.signal.aborted).toBe(false);
    await clock.advance(5_000);
    await second;
    expect(requests.map(({ signal }) => signal.aborted)).toEqual([false]);
  });

  it('in a room come through though a query for keys fails, or is not answered in time', async () => {
    const { clock, keys, know, inRoom, requests } = verificationLibrary();
    know(alice);
    keys.answer = () => Promise.reject(new Error('the other homeserver is down'));
    inRoom({ eventId: '$1' });
    await settle();
    expect(requests).toMatchObject([{ transactionId: '$1' }]);
    keys.answer = never;
    inRoom({ eventId: '$2' });
    await settle();
    await clock.advance(5_000);
    await settle();
    expect(requests).toMatchObject([{ transactionId: '$1', signal: { aborted: true } }, { transactionId: '$2' }]);
  });

  it('in a room do not wait for those of another room, or another user', async () => {
    const { keys, know, inRoom, requests } = verificationLibrary();
    know(alice);
    keys.answer = async (userId) => (userId === alice ? undefined : never());
    inRoom({ eventId: '$slow', sender: '@slow:x' });
    inRoom({ eventId: '$here' });
    inRoom({ eventId: '$there' }, '!other:x');
    await settle();
    expect(requests.map(({ transactionId }) => transactionId)).toEqual(['$here', '$there']);
  });

  it('go on while another member floods the room with events of one verification, or of thousands', async () => {
    const { keys, know, inRoom, requests, received } = verificationLibrary();
    know(alice);
    keys.answer = async (userId) => (userId === alice ? undefined : never());
    inRoom({ eventId: '$slow', sender: '@mallory:x' });
    for (let n = 0; n < 5_000; n++) {
      const event_id = ['$slow', '__proto__', `$${n}`][n % 3];
      const content = { 'm.relates_to': { rel_type: 'm.reference', event_id } };
      inRoom({ eventId: `$key${n}`, type: 'm.key.verification.key', sender: '@mallory:x', content });
    }
    for (const [n, relation] of [null, 7, [], { event_id: {} }, {}].entries()) {
      const content = { 'm.relates_to': relation };
      inRoom({ eventId: `$malformed${n}`, type: 'm.key.verification.key', content });
    }
    inRoom({ eventId: '$1' });
    await settle();
    expect(requests.map(({ transactionId }) => transactionId)).toEqual(['$1']);
    expect(received.length).toBeLessThanOrEqual(201);
  });

  it('are answered once, though others send thousands of events in between', async () => {
    const { know, inRoom, asked, sent } = verificationLibrary({ handles: false });
    know(alice);
    inRoom({ eventId: '$1' });
    for (let n = 0; n < 2_000; n++) {
      const content = { 'm.relates_to': { event_id: `$${n}` } };
      inRoom({ eventId: `$key${n}`, type: 'm.key.verification.key', sender: '@mallory:x', content });
      if (n % 100 === 0) await settle();
    }
    inRoom({ eventId: '$1' });
    await settle();
    expect([asked.length, sent.length]).toEqual([1, 1]);
  });

  it("of the user's own devices are answered though strangers use up what is answered", async () => {
    const { sync, toDevice, asked } = verificationLibrary({ handles: false });
    await sync(...Array.from({ length: 200 }, (_, n) => toDevice(`@user${n}:x`, `t${n}`)));
    await sync(...Array.from({ length: 20 }, (_, n) => toDevice(bob, `own${n}`, 'OWN')), toDevice(bob, 'o', 'OTHER'));
    await settle();
    expect(asked.filter(({ otherUserId }) => otherUserId !== bob)).toHaveLength(100);
    expect(asked.filter(({ otherDeviceId }) => otherDeviceId === 'OWN')).toHaveLength(10);
    expect(asked.filter(({ otherDeviceId }) => otherDeviceId === 'OTHER')).toHaveLength(1);
  });

  it.each([
    ['no emoji', { methods: ['m.qr_code.scan.v1'] }, 'A'],
    ['unknown keys', {}, 'UNKNOWN'],
  ])('with %s are left to another signed device of the user', async (_what, more, deviceId) => {
    const { know, signed, sync, toDevice, asked, sent } = verificationLibrary();
    know(alice);
    signed.add('PHONE');
    await sync(toDevice(alice, 't', deviceId, more));
    await settle();
    expect([asked.map(({ answer }) => answer), sent]).toEqual([['other-device'], []]);
  });

  it('that came encrypted are given to the application, once', async () => {
    const { begin, decrypted, sync, toDevice, requests, asked } = verificationLibrary();
    begin(alice, 'secret');
    const message = toDevice(alice, 'secret');
    for (let n = 0; n < 2; n++) {
      decrypted.push({ message, encryptionInfo: {} }, { message: toDevice(alice, 'clear'), encryptionInfo: null });
      await sync();
    }
    expect(requests.map(({ transactionId, signal }) => [transactionId, signal.aborted])).toEqual([['secret', false]]);
    expect(asked).toMatchObject([{ answer: 'passed-on' }]);
  });

  it('that came encrypted from an unknown device are given to the crypto library again, with its keys', async () => {
    const { decrypted, keys, know, sync, toDevice, received, requests } = verificationLibrary();
    keys.answer = async () => know(alice);
    decrypted.push({ message: toDevice(alice, 'secret'), encryptionInfo: {} });
    await sync({ type: 'm.room.encrypted', sender: alice, content: {} });
    expect(requests.map(({ transactionId }) => transactionId)).toEqual(['secret']);
    expect(received).toEqual([undefined, 'secret']);
  });

  it('that came encrypted are cancelled where nobody handles them, also in the crypto library', async () => {
    const { begin, decrypted, flows, sync, toDevice, sent } = verificationLibrary({ handles: false });
    begin(alice, 'secret');
    decrypted.push({ message: toDevice(alice, 'secret'), encryptionInfo: {} });
    await sync();
    await settle();
    expect(flows.get(`${alice} secret`)?.state.isCancelled).toBe(true);
    expect(sent).toMatchObject([
      { body: { messages: { [alice]: { A: { transaction_id: 'secret', code: 'm.user' } } } } },
    ]);
  });
});

describe('a verification in a room', () => {
  const offered = async () => {
    const library = verificationLibrary();
    library.know(alice);
    library.inRoom({ eventId: '$1' });
    await settle();
    expect(library.requests).toHaveLength(1);
    return library;
  };

  it.each([
    ['ready', 'PHONE'],
    ['start', 'PHONE'],
    ['cancel', undefined],
  ])('is over without a cancellation when another device of the user sends %s', async (type, device) => {
    const { answer, requests, sent, flows, clock } = await offered();
    answer(type, '$1', device);
    expect(requests[0]?.signal.reason).toMatchObject({ code: 'VERIFICATION_ENDED' });
    await requests[0]?.cancel();
    expect(flows.get(`${alice} $1`)?.state.isCancelled).toBe(true); // or the crypto library cancels it later
    expect([sent, clock.pendingTimers]).toEqual([[], 0]);
  });

  it('goes on when this device was the first to answer', async () => {
    const { answer, requests, received } = await offered();
    answer('ready', '$1', 'BOT', true);
    answer('ready', '$1', 'PHONE');
    answer('start', '$other', 'PHONE');
    expect(requests[0]?.signal.aborted).toBe(false);
    await settle();
    expect(received).toEqual(['$1', '$answer2', '$answer3']);
    answer('cancel', '$1', undefined);
    expect(requests[0]?.signal.aborted).toBe(true);
  });

  it('ends when another device was the first to answer, though this one has answered too', async () => {
    const { answer, requests, sent } = await offered();
    await requests[0]?.accept();
    answer('ready', '$1', 'PHONE');
    answer('ready', '$1', 'BOT', true);
    expect([requests[0]?.signal.aborted, sent]).toEqual([true, []]);
  });

  it('is not offered when another device has answered before the keys of the other side were there', async () => {
    const { keys, know, inRoom, answer, asked, requests, sent } = verificationLibrary();
    know(alice);
    const { promise, resolve } = Promise.withResolvers<void>();
    keys.answer = () => promise;
    inRoom({ eventId: '$1' });
    answer('ready', '$1', 'PHONE');
    resolve();
    await settle();
    expect([requests, sent, asked.map((one) => one.answer)]).toEqual([[], [], ['other-device']]);
  });

  it('is not ended by an answer of another user in the name of a device', async () => {
    const { inRoom, requests } = await offered();
    const content = { 'm.relates_to': { event_id: '$1' }, from_device: 'PHONE' };
    inRoom({ eventId: '$2', type: 'm.key.verification.ready', sender: '@mallory:x', content });
    inRoom({ eventId: '$3', type: 'm.key.verification.ready', sender: bob, content }, '!other:x');
    await settle();
    expect(requests[0]?.signal.aborted).toBe(false);
    expect(requests[0]?.roomId).toBe(roomId);
  });

  it('shows emoji as soon as the key of this side was sent', async () => {
    const { requests, flows, crypto } = await offered();
    const shown = requests[0]?.emoji();
    await settle();
    const flow = flows.get(`${alice} $1`);
    if (!flow) throw new Error('no flow');
    flow.state.emoji = [{ symbol: '🐶', description: 'Dog' }];
    await crypto.olmMachine.markRequestAsSent();
    expect(await shown).toEqual([{ symbol: '🐶', name: 'Dog' }]);
  });
});
