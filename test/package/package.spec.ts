import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { Consumer, devDependencies } from './consumer.js';
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

describe('the types of the installed package', () => {
  const files = ['typed.mts', 'typed.cts'];

  it.each(files)('fit a strict program with NodeNext resolution, without optional peers: %s', async (file) => {
    expect(await consumer.typecheck(file, { skipLibCheck: true })).toBe('');
  });

  it.each(files)('are without an error of their own where libraries are checked too: %s', async (file) => {
    await consumer.add(`msw@${devDependencies.msw}`);
    const problems = (await consumer.typecheck(file, { skipLibCheck: false })).split('\n').filter(Boolean);
    // matrix-js-sdk and what it depends on have errors of their own, with any setting.
    expect(problems.filter((line) => !/^(node_modules\/(?!matrix-client-manager)|\s)/.test(line))).toEqual([]);
  });
});
