import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { codeBlocks } from '../docs/markdown.js';
import { read } from '../docs/pages.js';
import { Consumer, devDependencies } from './consumer.js';
import { TerminalProgram } from './demo-program.js';
import { nodeOf } from './node-releases.js';

const namesOfMain = [
  'MatrixClientManager',
  'MatrixClientManagerError',
  'SynapseAdminProvisioner',
  'errorCodes',
  'memoryStorage',
  'sqliteStorage',
  'systemClock',
];
const namesOfTesting = ['FakeHomeserver', 'ManualClock', 'MemoryLogger'];

let consumer: Consumer;
beforeAll(async () => {
  consumer = await Consumer.install();
});
afterAll(() => consumer?.[Symbol.asyncDispose]());

for (const major of [22, 24]) {
  describe(`the installed package on Node ${major}`, () => {
    let node: string;
    beforeAll(async () => {
      node = await nodeOf(major);
    });

    it.each(['exports.mjs', 'exports.cjs'])('has its exports by name in both entries: %s', async (file) => {
      const { main, testing } = JSON.parse(await consumer.run(node, file)) as Record<string, string[]>;
      expect(main).toEqual(expect.arrayContaining(namesOfMain));
      expect(testing).toEqual(expect.arrayContaining(namesOfTesting));
    });

    it.each(['exports.mjs', 'exports.cjs'])('loads matrix-js-sdk no sooner than it is needed: %s', async (file) => {
      expect(JSON.parse(await consumer.run(node, file))).toMatchObject({ sdkLoaded: false });
    });

    it.each(['main-job-import.mjs', 'main-job-require.cjs'])('does its main job: %s', async (file) => {
      const output = await consumer.run(node, file, join(consumer.dir, `${major}-${file}.db`));
      expect(JSON.parse(output)).toEqual({ received: true, paged: true, ownError: 'INVALID_USER_ID' });
    });
  });
}

describe('npx matrix-client-manager', () => {
  it('demo: serves the page and its API until Ctrl-C', async () => {
    const demo = new TerminalProgram(
      'npx',
      ['matrix-client-manager', 'demo', '--port', '0', '--no-open'],
      consumer.dir,
    );
    try {
      const [url = ''] = await demo.printed(/http:\/\/127\.0\.0\.1:\d+\/(?=\n)/);
      const page = await (await fetch(url)).text();
      const files = [...page.matchAll(/(?:src|href)="([\w-]+\.\w+)"/g)].map(([, file = '']) => file);
      expect(files).toEqual(expect.arrayContaining(['app.js', 'style.css', 'icon.svg']));
      for (const file of files) expect((await fetch(new URL(file, url))).status).toBe(200);
      const { rooms } = (await (await fetch(new URL('api/bob/rooms', url))).json()) as { rooms: { name: string }[] };
      expect(rooms.map(({ name }) => name)).toContain('Summer picnic');
      await demo.interrupt();
      await expect(fetch(url)).rejects.toThrow('fetch failed');
      expect(demo.output).toMatch(/\nStopping \.\.\.\n$/);
    } finally {
      demo.kill();
    }
  });

  it.each([['--help'], ['demo', '--help']])('explains itself: %s %s', async (...args) => {
    expect(await consumer.run('npx', 'matrix-client-manager', ...args)).toMatch(/^Usage: matrix-client-manager demo/);
  });
});

describe('the transport on undici, an optional peer', () => {
  it('says which package is missing', async () => {
    await expect(consumer.run(process.execPath, 'main-job-undici-import.mjs', 'x.db')).rejects.toThrow(/'undici'/);
  });

  describe('once that is installed', () => {
    beforeAll(() => consumer.add(`undici@${devDependencies.undici}`));

    it.each([22, 24].flatMap((major) => ['import.mjs', 'require.cjs'].map((file) => [major, file] as const)))(
      'does the main job on Node %d: %s',
      async (major, file) => {
        const database = join(consumer.dir, `undici-${major}-${file}.db`);
        const output = await consumer.run(await nodeOf(major), `main-job-undici-${file}`, database);
        expect(JSON.parse(output)).toEqual({ received: true, paged: true, ownError: 'INVALID_USER_ID' });
      },
    );
  });
});

describe('the installed package under Jest', () => {
  const jest = (pattern: string): Promise<string> =>
    consumer.run(process.execPath, join(consumer.dir, 'node_modules/jest/bin/jest.js'), '--ci', '--testMatch', pattern);

  beforeAll(() => consumer.add('jest@30'));

  it('does its main job without flags or transforms, and lets the process end', async () => {
    await expect(jest('**/*.jest.js')).resolves.toBe('');
  });

  it('passes the tests that the guide shows', async () => {
    const [block] = codeBlocks(read('docs/guide/testing-with-jest.md'), 'js');
    await writeFile(join(consumer.dir, 'guide.test.js'), block?.code ?? '');
    await expect(jest('**/guide.test.js')).resolves.toBe('');
  });
});

describe('the types of the installed package', () => {
  describe.each([
    ['typed.mts', 'NodeNext'],
    ['typed.cts', 'NodeNext'],
    ['typed.mts', 'Node16'],
    ['typed.cts', 'Node16'],
  ])('%s with %s resolution', (file, module) => {
    it('fit a strict program where all libraries are checked too, without msw', async () => {
      expect(await consumer.typecheck(file, { module, skipLibCheck: false })).toBe('');
    });
  });

  it('are found by the old resolution of TypeScript, sub-exports too', async () => {
    const node10 = { module: 'CommonJS', moduleResolution: 'Node10', ignoreDeprecations: '6.0', skipLibCheck: true };
    expect(await consumer.typecheck('typed.ts', node10)).toBe('');
  });

  it('are those of msw once that is installed', async () => {
    await consumer.add(`msw@${devDependencies.msw}`);
    expect(await consumer.typecheck('msw-typed.mts', { module: 'NodeNext', skipLibCheck: true })).toBe('');
  });
});
