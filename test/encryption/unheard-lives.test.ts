import { describe, expect, it } from 'vitest';
import { FakeHomeserver } from '../../src/testing/fake-homeserver/fake-homeserver.js';
import { Recorder } from '../support/recorder.js';
import { arrivals, heardLives, livesOfBob, unheardLives } from './support/unheard-lives.js';
import type { Starter } from './support/unheard-lives.js';

describe('encrypted messages while nobody listens', () => {
  unheardLives(it, expect, async () => new FakeHomeserver());

  const file = { body: new Uint8Array([1]), name: 'a.bin' };
  const calls: readonly (readonly [string, Starter])[] = [
    ['startClient', (manager, { bob }) => manager.startClient({ userId: bob })],
    ['withClient', (manager, { bob }) => manager.withClient(bob, () => {})],
    ['connect without a callback', (manager, { bob }) => manager.connect({ userId: bob })],
    ['sendMessage', (manager, { bob, roomId }) => manager.sendMessage({ userId: bob, roomId, text: 'hi' })],
    ['sendFile', (manager, { bob, roomId }) => manager.sendFile({ userId: bob, roomId, file })],
    ['userVerification', (manager, { bob, alice }) => manager.userVerification(bob, alice)],
    ['verifyUser', (manager, { bob, alice }) => manager.verifyUser(bob, alice).catch(() => {})],
    ['resetIdentity', (manager, { bob }) => manager.resetIdentity(bob)],
  ];

  it.each(calls)('are kept when %s starts the client', async (_what, call) => {
    const lives = await heardLives(new FakeHomeserver());
    const { begin, bob, end, first, sayWithNewKeys, taken } = lives;
    await end(first, 'shut down');
    await sayWithNewKeys('while down');
    const next = begin();
    await call(next, lives, '');
    expect(next.clientInfo(bob)?.state).toBe('live');
    await taken(await sayWithNewKeys('to nobody'));
    const others = (text: string): boolean => !['hi', 'a.bin'].includes(text);
    const bodies = await arrivals(expect, next, lives, 'to nobody');
    expect(bodies.filter(others)).toEqual(['while down', 'to nobody', 'live']);
  });

  // How many requests of the manager have gone out before: a resumed client's start and its send are about ten.
  it.each([0, 3, 5, 7, 9])(
    'come once to a callback that is added in the start, after %i requests',
    async (requests) => {
      const lives = await heardLives(new FakeHomeserver(), { timelineLimit: 5 });
      const { begin, bob, end, first, queue, hold, say, sayWithNewKeys } = lives;
      await queue(first, 'from the queue');
      await end(first, 'shut down');
      const texts = Array.from({ length: 12 }, (_, n) => `while down ${n}`); // more than a sync brings
      for (const text of texts) await sayWithNewKeys(text);
      const got = new Recorder();
      const next = begin();
      const held = await hold(requests);
      next.addCallback(bob, got.callback, { types: ['message'] });
      held.let();
      await lives.answers.message('from the queue');
      await say('last');
      await got.message('last');
      expect(got.bodies()).toEqual([...texts, 'from the queue', 'last']);
    },
  );

  it('come once, and in order, to callbacks that come and go while messages are decrypted', async () => {
    const { bob, first, say, sayWithNewKeys } = await livesOfBob(new FakeHomeserver());
    const got = new Recorder();
    const listen = (): (() => void) => first.addCallback(bob, (event, context) => got.callback(event, context));
    let off = listen();
    const saying = { isOver: false };
    const coming = (async () => {
      for (let turns = 0; !saying.isOver; turns++) {
        if (turns % 5 === 0) off();
        if (turns % 5 === 2) off = listen();
        await new Promise((resolve) => setImmediate(resolve));
      }
      off();
      off = listen();
    })();
    const texts = Array.from({ length: 8 }, (_, n) => `${n}`);
    for (const text of texts) await sayWithNewKeys(text);
    saying.isOver = true;
    await coming;
    await say('last');
    await got.message('last');
    expect(got.bodies()).toEqual([...texts, 'last']);
  });
});
