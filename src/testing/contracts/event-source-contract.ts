import type { EventBatch, EventSource } from '../../core/ports/event-source.js';
import type { CheckpointChange } from '../../storage/checkpoint.js';
import type { TestApi } from './homeserver/test-api.js';

/** A source that was not started. */
export interface OpenedEventSource {
  readonly source: EventSource;
  /** Resolves when the source has passed on what happened before. */
  readonly start: () => Promise<void>;
  readonly stop: () => Promise<void>;
}

/** The world of one user, who is in one room. */
export interface EventSourceWorld extends AsyncDisposable {
  /** Opens a source where the commits so far end. One source is open at a time. */
  readonly open: (commits: readonly CheckpointChange[]) => Promise<OpenedEventSource>;
  /** Somebody sends a message to the user's room. */
  readonly say: (text: string) => void;
  /** Advances the clock of the source. */
  readonly advance: (ms: number) => Promise<void>;
}

function messagesOf(rooms: EventBatch['rooms']): string[] {
  return rooms.flatMap(({ provenance, timeline }) =>
    timeline.flatMap(({ type, content }) =>
      type === 'm.room.message' ? [`${provenance} ${String(content.body)}`] : [],
    ),
  );
}

/** Opens and starts a source. Its batches are committed, and listed as `scope` and as `provenance text`. */
async function listen({ open }: EventSourceWorld, commits: CheckpointChange[], until = Infinity) {
  const scopes: string[] = [];
  const received: string[] = [];
  const on = { hold: Promise.resolve() };
  const { source, start, stop } = await open(commits);
  const missed: string[] = [];
  source.connect({
    accept: async ({ position, scope, rooms, resume }) => {
      scopes.push(scope);
      received.push(...messagesOf(rooms));
      if (received.length < until) commits.push({ since: position, ...resume });
      await on.hold;
    },
    restart: async () => ({ since: commits.at(-1)?.since ?? undefined, lastDelivered: new Map() }),
    acceptUndelivered: () => {},
    acceptMissed: async ({ rooms }) => void missed.push(...messagesOf(rooms)),
    timelineOf: () => undefined,
  });
  await start();
  return { source, scopes, received, missed, stop, on };
}

/**
 * Defines the tests that every `EventSource` has to pass.
 * @param makeWorld - makes a world in which nothing was said; called once per test
 */
export function eventSourceContract(
  { describe, it, expect }: TestApi,
  makeWorld: () => Promise<EventSourceWorld>,
): void {
  function check(title: string, body: (world: EventSourceWorld) => Promise<void>): void {
    it(title, async () => {
      await using world = await makeWorld();
      await body(world);
    });
  }

  describe('an event source', () => {
    check(
      'begins with every room and its backlog; what happens then is live and comes once, in order',
      async (world) => {
        world.say('old');
        const { scopes, received, stop } = await listen(world, []);
        expect(scopes[0]).toBe('all-rooms');
        for (const text of ['one', 'two']) world.say(text);
        await world.advance(1_000);
        world.say('three');
        await world.advance(1_000);
        expect(received).toEqual(['backlog old', 'live one', 'live two', 'live three']);
        expect(scopes.slice(1).every((scope) => scope === 'changes')).toBe(true);
        await stop();
      },
    );

    check('resumes from a position with what was missed, and repeats nothing before it', async (world) => {
      const commits: CheckpointChange[] = [];
      const first = await listen(world, commits);
      world.say('one');
      await world.advance(1_000);
      await first.stop();
      world.say('two');
      await world.advance(1_000);
      const second = await listen(world, commits);
      world.say('three');
      await world.advance(1_000);
      expect(first.received).toEqual(['live one']);
      expect(second.received).toEqual(['gap-fill two', 'live three']);
      expect(second.scopes.every((scope) => scope === 'changes')).toBe(true);
      await second.stop();
    });

    check('brings again what was after the position', async (world) => {
      const commits: CheckpointChange[] = [];
      const first = await listen(world, commits, 2);
      for (const text of ['one', 'two', 'three']) {
        world.say(text);
        await world.advance(1_000);
      }
      await first.stop();
      const second = await listen(world, commits);
      await world.advance(1_000);
      expect(first.received).toEqual(['live one', 'live two', 'live three']);
      expect(second.received).toEqual(['gap-fill two', 'gap-fill three']);
      await second.stop();
    });

    check('passes the events since the stored position again when they are asked for', async (world) => {
      const { source, received, missed, stop } = await listen(world, [], 2);
      for (const text of ['one', 'two', 'three']) {
        world.say(text);
        await world.advance(1_000);
      }
      source.fetchMissedEvents(false);
      await world.advance(1_000);
      world.say('four');
      await world.advance(1_000);
      expect(missed).toEqual(['gap-fill two', 'gap-fill three']);
      expect(received).toEqual(['live one', 'live two', 'live three', 'live four']);
      await stop();
    });

    check('passes on the next batch after the last one was taken', async (world) => {
      const { received, stop, on } = await listen(world, []);
      await world.advance(1_000); // a source may begin with several batches
      const taken = Promise.withResolvers<void>();
      on.hold = taken.promise;
      world.say('one');
      await world.advance(1_000);
      world.say('two');
      await world.advance(60_000);
      expect(received).toEqual(['live one']);
      taken.resolve();
      await world.advance(1_000);
      expect(received).toEqual(['live one', 'live two']);
      await stop();
    });

    check('passes nothing on after it was stopped', async (world) => {
      const { received, stop } = await listen(world, []);
      await stop();
      world.say('one');
      await world.advance(3_600_000);
      expect(received).toEqual([]);
    });
  });
}
