import { describe, expect, it } from 'vitest';
import { ManualClock, MemoryUserEngine, userEngineContract } from '../../src/testing/index.js';
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

describe('UserSession', () => {
  userEngineContract({ describe, it, expect }, async () => {
    const on = await userSessionOnFake();
    return {
      engine: on.session,
      say: on.say,
      received: () => on.recorder.bodies(),
      advance: (ms) => on.clock.advance(ms),
      pending: () => on.fake.inFlight + on.clock.pendingTimers,
      [Symbol.asyncDispose]: () => on[Symbol.asyncDispose](),
    };
  });
});
