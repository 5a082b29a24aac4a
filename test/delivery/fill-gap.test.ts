import { describe, expect, it } from 'vitest';
import type { HistoryReader, HistoryRequest } from '../../src/core/ports/history-reader.js';
import { fillGap } from '../../src/delivery/fill-gap.js';
import type { Edge, FilledGap } from '../../src/delivery/fill-gap.js';
import { event, roomId } from './harness.js';

const { signal } = new AbortController();

/** A room whose pages are named by the token that they are asked for with; each lists the newest event first. */
function setUp(pages: Readonly<Record<string, { names: readonly string[]; end?: string }>>) {
  const requests: HistoryRequest[] = [];
  const read: HistoryReader = async (request) => {
    requests.push(request);
    const page = pages[request.from ?? ''];
    if (!page) throw new Error(`no page ${request.from}`);
    if (requests.length > 20) throw new Error('asked without an end');
    return { events: page.names.slice(0, request.limit).map((name) => event(name)), end: page.end };
  };
  const fill = async (limit: number, edges: Readonly<Record<string, Edge>> = {}): Promise<string[]> => {
    const edge = ({ event_id }: { event_id: string }): Edge => edges[event_id.slice(1)] ?? 'none';
    const gap = await fillGap(read, { roomId, newerToken: 'newest', olderToken: 'oldest', edge }, limit, signal);
    return shown(gap);
  };
  return { requests, fill };
}

function shown({ events, complete }: FilledGap): string[] {
  return [...events.map(({ event_id }) => event_id.slice(1)), complete ? 'complete' : 'incomplete'];
}

describe('filling a gap', () => {
  it('reads page after page to the end of the gap, and returns the oldest event first', async () => {
    const { fill, requests } = setUp({
      newest: { names: ['d', 'c'], end: 'older' },
      older: { names: ['b', 'a'] },
    });
    expect(await fill(10)).toEqual(['a', 'b', 'c', 'd', 'complete']);
    expect(requests).toEqual([
      { roomId, from: 'newest', to: 'oldest', limit: 11, signal },
      { roomId, from: 'older', to: 'oldest', limit: 9, signal },
    ]);
  });

  it('asks for at most 100 events at once', async () => {
    const { fill, requests } = setUp({ newest: { names: [], end: 'older' }, older: { names: [] } });
    await fill(1_000);
    expect(requests.map(({ limit }) => limit)).toEqual([100, 100]);
  });

  it('ends before an event that is known, and takes none of what is older', async () => {
    const { fill } = setUp({ newest: { names: ['d', 'c', 'known', 'a'], end: 'older' } });
    expect(await fill(10, { known: 'known' })).toEqual(['c', 'd', 'complete']);
  });

  it('ends with an event that is itself the first missing one', async () => {
    const { fill } = setUp({ newest: { names: ['d', 'first', 'b'], end: 'older' } });
    expect(await fill(10, { first: 'first' })).toEqual(['first', 'd', 'complete']);
  });

  it('returns the newest events where more than the limit is missing', async () => {
    const { fill, requests } = setUp({
      newest: { names: ['e', 'd', 'c', 'b', 'a'], end: 'older' },
    });
    expect(await fill(3)).toEqual(['c', 'd', 'e', 'incomplete']);
    expect(requests).toHaveLength(1);
  });

  it.each(['known', 'first'] as const)('is complete with exactly as many events as the limit (%s)', async (edge) => {
    const { fill } = setUp({ newest: { names: ['c', 'b', 'a'], end: 'older' }, older: { names: [] } });
    const limit = edge === 'known' ? 2 : 3;
    expect((await fill(limit, { a: edge })).at(-1)).toBe('complete');
  });

  it('is complete when the room ends with as many events as the limit', async () => {
    const { fill } = setUp({ newest: { names: ['b', 'a'], end: 'older' }, older: { names: [] } });
    expect(await fill(2)).toEqual(['a', 'b', 'complete']);
  });

  it('gives up on a homeserver that goes round in circles', async () => {
    const { fill, requests } = setUp({ newest: { names: ['a'], end: 'newest' } });
    expect(await fill(10)).toEqual(['a', 'incomplete']);
    expect(requests).toHaveLength(1);
  });

  it('gives up on a circle of empty pages with several tokens', async () => {
    const { fill, requests } = setUp({
      newest: { names: ['a'], end: 'older' },
      older: { names: [], end: 'oldest of all' },
      'oldest of all': { names: [], end: 'older' },
    });
    expect(await fill(10)).toEqual(['a', 'incomplete']);
    expect(requests).toHaveLength(3);
  });
});
