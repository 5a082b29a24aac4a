import type { UserEngine } from '../../core/ports/user-engine.js';
import type { TestApi } from './homeserver/test-api.js';

/** An engine that was not started, and the world of its user. */
export interface UserEngineUnderTest extends AsyncDisposable {
  readonly engine: UserEngine;
  /** Somebody sends a message to the user. */
  readonly say: (text: string) => void;
  /** The messages that the user has received, in order. */
  readonly received: () => readonly string[];
  /** Advances the engine's clock. */
  readonly advance: (ms: number) => Promise<void>;
  /** How many timers and requests of the engine there are. */
  readonly pending: () => number;
}

const HOUR = 3_600_000;

/**
 * Defines the tests that every `UserEngine` has to pass.
 * @param open - makes an engine; called once per test
 */
export function userEngineContract({ describe, it, expect }: TestApi, open: () => Promise<UserEngineUnderTest>): void {
  function check(title: string, body: (opened: UserEngineUnderTest) => Promise<void>): void {
    it(title, async () => {
      await using opened = await open();
      await body(opened);
      await opened.engine.stop();
      expect(opened.pending()).toBe(0);
    });
  }

  describe('a user engine', () => {
    check('receives nothing before it is started, then every message in order', async (opened) => {
      const { engine, say, received, advance } = opened;
      await advance(HOUR);
      expect(engine.lastSyncAt).toBeUndefined();
      await engine.start(new AbortController().signal);
      expect(engine.lastSyncAt).toBeDefined();
      expect(engine.isIncomplete).toBe(false);
      for (const text of ['one', 'two', 'three']) say(text);
      await advance(1_000);
      say('four');
      await advance(1_000);
      expect(received()).toEqual(['one', 'two', 'three', 'four']);
    });

    check('rejects a start whose signal has fired, and receives nothing then', async (opened) => {
      const { engine, say, received, advance } = opened;
      const rejection = await engine.start(AbortSignal.abort()).catch((error: unknown) => error);
      expect(rejection).toMatchObject({ code: 'ABORTED' });
      await engine.stop();
      say('unheard');
      await advance(HOUR);
      expect(received()).toEqual([]);
    });

    check('receives nothing after a stop, while resting or not, and allows a second stop', async (opened) => {
      const { engine, say, received, advance } = opened;
      await engine.start(new AbortController().signal);
      engine.rest(60_000);
      await engine.stop();
      engine.wake();
      say('unheard');
      await advance(HOUR);
      expect(received()).toEqual([]);
      await engine.stop();
    });

    check('stops without having been started', async ({ engine }) => {
      await engine.stop();
    });

    check('asks at intervals while it rests', async ({ engine, say, received, advance }) => {
      await engine.start(new AbortController().signal);
      engine.rest(600_000);
      await advance(HOUR);
      const before = engine.lastSyncAt ?? 0;
      say('one');
      say('two');
      await advance(1_200_000);
      expect(received()).toEqual(['one', 'two']);
      expect(engine.lastSyncAt ?? 0).toBeGreaterThan(before);
    });

    check('receives nothing while it rests for ever, and what was missed, once, when it wakes', async (opened) => {
      const { engine, say, received, advance } = opened;
      await engine.start(new AbortController().signal);
      engine.rest(Infinity);
      await advance(HOUR); // a request that was already sent may still be answered
      say('one');
      say('two');
      await advance(HOUR);
      expect(received()).toEqual([]);
      engine.wake();
      await advance(1_000);
      expect(received()).toEqual(['one', 'two']);
      engine.wake(); // a second wake changes nothing
      say('three');
      await advance(1_000);
      expect(received()).toEqual(['one', 'two', 'three']);
    });

    check('makes one SDK client', async ({ engine }) => {
      await engine.start(new AbortController().signal);
      const client = await engine.sdkClient();
      expect(client).toBeDefined();
      expect((await engine.sdkClient()) === client).toBe(true);
      expect(engine.sdkClientIfMade() === client).toBe(true);
    });
  });
}
