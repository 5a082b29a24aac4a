import { afterEach, describe, expect, it } from 'vitest';
import { singleProcessClaims } from '../../src/core/ports/claim.js';
import type { Claim } from '../../src/core/ports/claim.js';
import { memoryStorage, MatrixClientManagerError } from '../../src/index.js';
import type { Storage } from '../../src/index.js';
import { claimContract, MemoryClaims } from '../../src/testing/index.js';
import { managerOnFake } from '../support/manager-on-fake.js';
import { userSessionOnFake } from '../support/user-session-on-fake.js';

describe('singleProcessClaims', () => {
  claimContract({ describe, it, expect }, async () => ({ take: singleProcessClaims() }));
});

describe('MemoryClaims', () => {
  claimContract({ describe, it, expect }, async () => {
    const claims = new MemoryClaims();
    const take = (userId: string): Promise<Claim> => claims.take(userId);
    return { take, takeElsewhere: take };
  });
});

const HOUR = 3_600_000;
const elsewhere = new MatrixClientManagerError('OWNED_ELSEWHERE', 'it belongs to another process');

const open: AsyncDisposable[] = [];
afterEach(async () => {
  for (const one of open.splice(0).toReversed()) await one[Symbol.asyncDispose]();
});

/** A storage that calls `onWrite` before each commit and dead letter. */
function watchedStorage(onWrite: (name: string, claim: Claim | undefined) => void): Storage {
  const storage = memoryStorage();
  const commit = storage.commit.bind(storage);
  const addDeadLetter = storage.addDeadLetter.bind(storage);
  return Object.assign(storage, {
    commit: async (...args: Parameters<Storage['commit']>) => {
      onWrite('commit', args[2]);
      await commit(...args);
    },
    addDeadLetter: async (...args: Parameters<Storage['addDeadLetter']>) => {
      onWrite('addDeadLetter', args[2]);
      await addDeadLetter(...args);
    },
  });
}

/** A live session; its writes are listed, and rejected once `fence` is set. */
async function liveSession() {
  const claims = new MemoryClaims();
  const on = { fence: false, writes: [] as [string, number | undefined][] };
  const storage = watchedStorage((name, claim) => {
    on.writes.push([name, claim?.epoch]);
    if (on.fence) throw elsewhere;
  });
  await claims.take('@alice:hs.test');
  const claim = await claims.take('@alice:hs.test');
  const user = await userSessionOnFake({ claim, storage });
  open.push(user);
  await user.session.start(new AbortController().signal);
  return { ...user, claims, claim, on };
}

type LiveSession = Awaited<ReturnType<typeof liveSession>>;

/** Checks that nothing is stored and no callback is called any more, whatever arrives and however long it takes. */
async function expectEnded({ on, fatal, say, recorder, clock, session }: LiveSession): Promise<void> {
  const [writes, received] = [on.writes.length, recorder.bodies()];
  say('later');
  await clock.advance(HOUR);
  await session.stop();
  await clock.advance(HOUR);
  expect(on.writes).toHaveLength(writes);
  expect(recorder.bodies()).toEqual(received);
  expect(fatal.map(({ code }) => code)).toEqual(['OWNED_ELSEWHERE']);
}

describe('the claim of a session', () => {
  it('goes with every commit and dead letter of the session', async () => {
    const { say, clock, on, callbacks, userId, session, recorder } = await liveSession();
    callbacks.add(userId, () => {
      throw new Error('no');
    });
    say('one');
    await clock.advance(1_000);
    // Without callbacks events are deferred; the next callback gets them from a new delivery of the same session.
    callbacks.forget(userId);
    session.callbacksChanged();
    say('two');
    await clock.advance(1_000);
    callbacks.add(userId, recorder.callback, { types: ['message'] });
    session.callbacksChanged();
    await clock.advance(1_000);
    await session.stop();
    expect(recorder.bodies()).toEqual(['one', 'two']);
    expect(on.writes).toContainEqual(['addDeadLetter', 2]);
    expect(on.writes.length).toBeGreaterThan(3);
    expect(on.writes.every(([, epoch]) => epoch === 2)).toBe(true);
  });

  it('ends the session with the first commit that is refused because of another owner, which is not repeated', async () => {
    const session = await liveSession();
    session.on.fence = true;
    const before = session.on.writes.length;
    session.say('one');
    await session.clock.advance(HOUR);
    expect(session.recorder.bodies()).toEqual(['one']);
    expect(session.on.writes.slice(before)).toEqual([['commit', 2]]);
    await expectEnded(session);
  });

  it('ends the session with the first dead letter that is refused, which is not repeated', async () => {
    const session = await liveSession();
    session.callbacks.add(session.userId, () => {
      throw new Error('no');
    });
    session.on.fence = true;
    const before = session.on.writes.length;
    session.say('one');
    await session.clock.advance(HOUR);
    expect(session.on.writes.slice(before)).toEqual([['addDeadLetter', 2]]);
    await expectEnded(session);
  });

  it('ends the session when another owner takes the user; a callback that runs then is not stored', async () => {
    const session = await liveSession();
    const hold = Promise.withResolvers<void>();
    session.callbacks.add(session.userId, () => hold.promise);
    session.say('one');
    await session.clock.advance(1_000);
    const writes = session.on.writes.length;
    await session.claims.take(session.userId);
    expect(session.fatal).toHaveLength(1);
    hold.resolve();
    await session.clock.advance(1_000);
    expect(session.on.writes).toHaveLength(writes);
    await expectEnded(session);
  });

  it('begins no callback when the claim has lapsed before its signal fires', async () => {
    const session = await liveSession();
    const { claim } = session;
    Object.assign(claim, {
      assertHeld: () => {
        throw elsewhere;
      },
    });
    session.say('one');
    await session.clock.advance(1_000);
    expect(session.recorder.bodies()).toEqual([]);
    await expectEnded(session);
  });

  it('fails the start when the user was taken meanwhile', async () => {
    const claims = new MemoryClaims();
    const claim = await claims.take('@alice:hs.test');
    const { session, fake } = await userSessionOnFake({ claim });
    const starting = session.start(new AbortController().signal).catch((error: unknown) => error);
    await claims.take('@alice:hs.test');
    expect(await starting).toMatchObject({ code: 'OWNED_ELSEWHERE' });
    expect(fake.inFlight).toBe(0);
    await fake.close();
  });
});

describe('a manager whose storage says that a user belongs to another process', () => {
  it('stops that user’s client and does not restart it, not even for an open connection', async () => {
    const claimed: Claim[] = [];
    let fence = false;
    const storage = watchedStorage((_name, claim) => {
      if (claim) claimed.push(claim);
      if (fence) throw elsewhere;
    });
    const { manager, fake, clock } = managerOnFake({ storage });
    open.push(fake, manager);
    const [alice, bob] = [fake.createUser({ username: 'alice' }), fake.createUser({ username: 'bob' })];
    const roomId = fake.createRoom({ creator: alice.userId, members: [bob.userId] });
    await storage.setCredentials(alice);
    const { userId } = alice;
    const stopped: string[] = [];
    manager.on('clientStopped', ({ reason, error }) => stopped.push(`${reason} ${error?.code ?? ''}`));
    const connection = await manager.connect({ userId, callback: () => {} });
    fence = true;
    fake.sendMessage(roomId, bob.userId, 'one');
    await clock.advance(HOUR);
    expect(stopped).toEqual(['failed OWNED_ELSEWHERE']);
    expect([connection.state, connection.error?.code]).toEqual(['failed', 'OWNED_ELSEWHERE']);
    fence = false; // the user comes back to this process, and is started on request
    await manager.startClient({ userId });
    fake.sendMessage(roomId, bob.userId, 'two');
    await clock.advance(1_000);
    expect(connection.state).toBe('live');
    const epochs = [...new Set(claimed.map(({ epoch }) => epoch))];
    expect(epochs).toHaveLength(2);
    expect(claimed.every((claim) => claim.userId === userId)).toBe(true);
  });
});
