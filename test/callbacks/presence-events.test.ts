import { afterEach, expect, it } from 'vitest';
import type { ClientEvent, MatrixClientManagerOptions } from '../../src/index.js';
import { managerOnFake } from '../support/manager-on-fake.js';
import { Recorder } from '../support/recorder.js';

const open: AsyncDisposable[] = [];
afterEach(async () => {
  for (const one of open.splice(0).toReversed()) await one[Symbol.asyncDispose]();
});

async function setUp(options: Partial<MatrixClientManagerOptions> = {}) {
  const deployment = managerOnFake(options);
  const { fake, manager, clock } = deployment;
  open.push(fake, manager);
  const { userId: alice } = await manager.provisionUser({ username: 'alice' });
  const { userId: bob } = await manager.provisionUser({ username: 'bob' });
  const roomId = fake.createRoom({ creator: alice, members: [bob] });
  const set = async (statusMessage: string): Promise<void> => {
    await manager.setPresence({ userId: alice, presence: 'online', statusMessage });
    await clock.advance(1_000);
  };
  const filters = (): string[] =>
    fake.requests.filter(({ endpoint }) => endpoint === '/sync').map(({ query }) => query['filter'] ?? '');
  return { ...deployment, alice, bob, roomId, set, filters };
}

const statuses = ({ events }: { readonly events: readonly ClientEvent[] }) =>
  events.flatMap((event) => (event.type === 'presence' ? [event.statusMessage] : []));

it('syncs leave presence out until a callback of the user, or of all users, asks for it', async () => {
  const { clock, fake, manager, soon, bob, roomId, alice, filters, set } = await setUp();
  const off = manager.onEvent(() => {}, { types: ['presence'], users: [alice] });
  manager.addCallback(bob, () => {});
  await soon(manager.startClient({ userId: bob }));
  await set('not asked for');
  fake.sendMessage(roomId, alice, 'moves the position');
  await clock.advance(1_000);
  expect(filters().length).toBeGreaterThan(0);
  for (const filter of filters()) expect(JSON.parse(filter)).toMatchObject({ presence: { not_types: ['*'] } });
  const recorder = new Recorder();
  const offAll = manager.onEvent(recorder.callback, { types: ['presence'] });
  await clock.advance(0);
  await set('asked for');
  expect(statuses(recorder)).toEqual(['asked for']);
  offAll();
  off();
  fake.sendMessage(roomId, alice, 'ends the poll');
  await clock.advance(1_000);
  await set('no more');
  expect(filters().at(-1)).toContain('not_types');
  expect(statuses(recorder)).toEqual(['asked for']);
});

it('an application that has asked for the SDK client finds presence there', async () => {
  const { clock, fake, manager, soon, bob, roomId, alice, set } = await setUp();
  await soon(manager.startClient({ userId: bob }));
  const client = manager.getClient(bob);
  fake.sendMessage(roomId, alice, 'ends the poll');
  await clock.advance(1_000);
  await set('shown');
  expect(client?.getUser(alice)?.presenceStatusMsg).toBe('shown');
});

it('the latest state comes after a restart, and what was delivered does not come again', async () => {
  const { clock, manager, make, soon, bob, set } = await setUp();
  const recorder = new Recorder();
  manager.addCallback(bob, recorder.callback, { types: ['presence'] });
  await set('before');
  await soon(manager.startClient({ userId: bob }));
  await set('live');
  expect(statuses(recorder)).toEqual(['before', 'live']);
  const [first] = recorder.events;
  expect(first).toMatchObject({ type: 'presence', provenance: 'live', currentlyActive: true });
  expect(first?.type === 'presence' && (first.lastActiveAt ?? 0)).toBeGreaterThan(clock.now() - 10_000);
  await soon(manager.stopClient(bob));
  const again = new Recorder();
  const next = make();
  open.push(next);
  next.addCallback(bob, again.callback, { types: ['presence'] });
  await soon(next.startClient({ userId: bob }));
  expect(statuses(again)).toEqual([]);
  await soon(next.stopClient(bob));
  await set('one');
  await set('two');
  await soon(next.startClient({ userId: bob }));
  expect(statuses(again)).toEqual(['two']);
});

it('come one at a time, and become dead letters that can be retried', async () => {
  const { clock, manager, soon, bob, set } = await setUp({ callbackAttempts: 2, callbackRetryDelayMs: 10 });
  const calls: string[] = [];
  let fails = true;
  const errors: unknown[] = [];
  manager.on('callbackError', ({ event }) => void errors.push(event.roomId));
  manager.addCallback(
    bob,
    (event) => {
      calls.push(event.type === 'presence' ? (event.statusMessage ?? '') : event.type);
      if (fails) throw new Error('full');
    },
    { types: ['presence'] },
  );
  await soon(manager.startClient({ userId: bob }));
  await set('one');
  await clock.advance(1_000);
  expect(calls).toEqual(['one', 'one']);
  expect(errors).toEqual([undefined, undefined]);
  const [letter] = await manager.deadLetters(bob);
  expect(letter?.event).toMatchObject({ type: 'presence', statusMessage: 'one' });
  fails = false;
  expect(await soon(manager.retryDeadLetter(bob, letter?.id ?? ''))).toBe(true);
  expect(calls).toEqual(['one', 'one', 'one']);
});

it('a homeserver that lies about presence costs what is wrong, and nothing else', async () => {
  const { clock, fake, manager, soon, alice, bob, roomId } = await setUp();
  const recorder = new Recorder();
  manager.addCallback(bob, recorder.callback, { types: ['presence', 'message'] });
  await soon(manager.startClient({ userId: bob }));
  const before = manager.stats().malformedParts;
  const presence = (sender: unknown, content: unknown) => ({ type: 'm.presence', sender, content });
  fake.faults.rewrite({ endpoint: '/sync' }, (body) => ({
    ...(body as object),
    presence: {
      events: [
        null,
        presence(1, { presence: 'online' }),
        presence('__proto__', { presence: 'online' }),
        presence(alice, null),
        presence(alice, { presence: 7 }),
        { type: 'm.other', sender: alice, content: { presence: 'online' } },
        presence(alice, JSON.parse('{"presence":"online","__proto__":{"status_msg":"inherited"}}')),
        presence(alice, { presence: 'busy', last_active_ago: -1, status_msg: {}, currently_active: 'yes' }),
      ],
    },
  }));
  fake.sendMessage(roomId, alice, 'ends the poll');
  await clock.advance(1_000);
  fake.faults.clear();
  fake.sendMessage(roomId, alice, 'and on');
  await clock.advance(1_000);
  const seen = recorder.events.filter(({ type }) => type === 'presence');
  const expected = { type: 'presence', userId: bob, provenance: 'live', sender: alice, presence: 'unavailable' };
  expect(seen.length).toBeGreaterThan(0);
  for (const event of seen) expect(event).toEqual(expected);
  expect(recorder.bodies()).toContain('and on');
  expect(manager.stats().malformedParts - before).toBeGreaterThanOrEqual(9);
});

it.each([{ types: ['presence'], once: true }])('are refused with once', async (options) => {
  const { manager } = await setUp();
  expect(() => manager.onEvent(() => {}, options)).toThrow(expect.objectContaining({ code: 'INVALID_OPTIONS' }));
});
