import { describe, expect, it } from 'vitest';
import type { ClientEvent } from '../../src/index.js';
import { ManualClock, MemoryEventLog, MemoryUserEngine, userEngineContract } from '../../src/testing/index.js';
import { memoryStorage } from '../../src/storage/memory-storage.js';
import type { UserEngine } from '../../src/core/ports/user-engine.js';
import type { UserSession } from '../../src/users/user-session.js';
import { userSessionOnFake } from '../support/user-session-on-fake.js';

describe('MemoryUserEngine', () => {
  userEngineContract({ describe, it, expect }, async () => {
    const clock = new ManualClock();
    const received: string[] = [];
    const engine = new MemoryUserEngine(clock, (text) => received.push(text));
    return {
      engine,
      say: (text) => engine.say(text),
      received: () => received,
      advance: (ms) => clock.advance(ms),
      pending: () => clock.pendingTimers,
      [Symbol.asyncDispose]: async () => {},
    };
  });
});

/** The engine of a session, which the session starts and stops. */
function startedBy(session: UserSession): UserEngine {
  const start = (signal: AbortSignal): Promise<void> => session.start(signal);
  const stop = (): Promise<void> => session.stop();
  return new Proxy(session.engine, {
    get: (engine, name: keyof UserEngine) => {
      if (name === 'start' || name === 'stop') return name === 'start' ? start : stop;
      const value: unknown = engine[name];
      return typeof value === 'function' ? (value.bind(engine) as unknown) : value;
    },
  });
}

describe('UserSession', () => {
  userEngineContract({ describe, it, expect }, async () => {
    const on = await userSessionOnFake();
    return {
      engine: startedBy(on.session),
      say: on.say,
      received: () => on.recorder.bodies(),
      advance: (ms) => on.clock.advance(ms),
      pending: () => on.fake.inFlight + on.clock.pendingTimers,
      [Symbol.asyncDispose]: () => on[Symbol.asyncDispose](),
    };
  });
});

describe('UserSession on an engine without a sync', () => {
  const signal = new AbortController().signal;

  /** One life of a user's session. The engine resumes from the stored position. */
  async function open(storage = memoryStorage(), log = new MemoryEventLog()) {
    const clock = new ManualClock();
    const userId = '@alice:hs.test';
    const position = (await storage.loadCheckpoint(userId)).since;
    const engine = new MemoryUserEngine(clock, undefined, { log, position });
    const on = await userSessionOnFake({ storage, engine });
    return { ...on, engine, log, storage, bodies: () => on.recorder.events.map(textOf) };
  }
  const textOf = (event: ClientEvent): string =>
    'content' in event ? `${event.provenance} ${String(event.content.body)}` : event.type;

  it('delivers its events, stores the position, and resumes from it', async () => {
    const first = await open();
    await first.session.start(signal);
    first.engine.say('one');
    await first.clock.advance(1_000);
    await first.session.stop();
    const { since } = await first.storage.loadCheckpoint(first.userId);
    expect([first.bodies(), since, first.fatal]).toEqual([['live one'], '1', []]);
    first.log.say('two');
    const second = await open(first.storage, first.log);
    await second.session.start(signal);
    second.engine.say('three');
    await second.clock.advance(1_000);
    await second.session.stop();
    expect(second.bodies()).toEqual(['gap-fill two', 'live three']);
    for (const on of [first, second]) await on[Symbol.asyncDispose]();
  });

  it('asks it for the events that came without a callback', async () => {
    await using on = await open();
    const { session, engine, clock, callbacks, recorder, userId } = on;
    await session.start(signal);
    callbacks.remove(userId, recorder.callback);
    session.callbacksChanged();
    engine.say('missed');
    await clock.advance(1_000);
    expect(on.bodies()).toEqual([]);
    callbacks.add(userId, recorder.callback, { types: ['message'] });
    session.callbacksChanged();
    await clock.advance(1_000);
    engine.say('live');
    await clock.advance(1_000);
    expect(on.bodies()).toEqual(['gap-fill missed', 'live live']);
    await session.stop();
  });

  it('has no SDK client before the application asks for one', async () => {
    await using on = await open();
    await on.session.start(signal);
    expect(on.session.engine.sdkClientIfMade()).toBeUndefined();
    expect(await on.session.engine.sdkClient()).toBe(on.session.engine.sdkClientIfMade());
    await on.session.stop();
  });
});
