import { Writable } from 'node:stream';
import pino from 'pino';
import { expect, it } from 'vitest';
import { eventfulLife } from './eventful-life.js';
import { WatchedManager } from './watched-manager.js';

interface Line {
  readonly level: number;
  readonly msg: string;
  readonly module?: string;
  readonly err?: { readonly type: string; readonly message: string };
}

async function logOf(level: string): Promise<{ lines: Line[]; text: string; tokens: string[] }> {
  let text = '';
  const stream = new Writable({
    write(chunk: Buffer, _encoding, done) {
      text += chunk.toString();
      done();
    },
  });
  const watch = new WatchedManager({ logger: pino({ level }, stream), callbackAttempts: 2, gapFillLimit: 100 });
  const { ids } = await eventfulLife(watch);
  await watch.close();
  const lines = text.trim().split('\n').map((line) => JSON.parse(line) as Line); // prettier-ignore
  return { lines, text, tokens: ids.filter((id) => /^(syt_|[A-Za-z0-9_]{20,})/.test(id)) };
}

it('a pino instance is a logger as it is: errors come out as errors, and no token does', async () => {
  const { lines, text, tokens } = await logOf('info');
  expect(lines.find(({ msg }) => msg === 'a callback failed')).toMatchObject({ level: 40, err: { type: 'Error' } });
  expect(lines.find(({ msg }) => msg === 'the homeserver is down')).toBeDefined();
  expect(lines.find(({ msg }) => msg === 'sync failed, trying again')?.err).toMatchObject({
    type: 'MatrixClientManagerError',
  });
  expect(lines.filter(({ module }) => module !== undefined)).toEqual([]); // matrix-js-sdk is quiet
  expect(tokens.length).toBeGreaterThan(0);
  for (const token of tokens) expect(text).not.toContain(token);
});

it("matrix-js-sdk's own words go there at level debug", async () => {
  const { lines, text, tokens } = await logOf('debug');
  const own = lines.filter(({ module }) => module?.startsWith('matrix-js-sdk'));
  expect(own.length).toBeGreaterThan(0);
  expect(new Set(own.map(({ level }) => level))).toEqual(new Set([20]));
  for (const token of tokens) expect(text).not.toContain(token);
});
