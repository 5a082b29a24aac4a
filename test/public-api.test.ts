import { expect, test, vi } from 'vitest';
import * as main from '../src/index.js';
import * as testing from '../src/testing/index.js';
import * as nestjs from '../src/nestjs/index.js';
import * as sse from '../src/sse/index.js';
import * as undici from '../src/undici/index.js';
import { publicNames } from './architecture/public-names.js';

// The compiler reads the whole library.
vi.setConfig({ testTimeout: 60_000 });

/*
 * test/public-api.txt lists what the package exports. A change of it is a change for every application: when this
 * fails, write the change into CHANGELOG.md, then run `npx vitest run test/public-api.test.ts -u`.
 */
test('the package exports what test/public-api.txt says', async () => {
  const listing = [
    '# matrix-client-manager',
    ...publicNames('index.ts'),
    '',
    '# matrix-client-manager/testing',
    ...publicNames('testing/index.ts'),
    '',
    '# matrix-client-manager/undici',
    ...publicNames('undici/index.ts'),
    '',
    '# matrix-client-manager/sse',
    ...publicNames('sse/index.ts'),
    '',
    '# matrix-client-manager/nestjs',
    ...publicNames('nestjs/index.ts'),
    '',
  ];
  await expect(listing.join('\n')).toMatchFileSnapshot('public-api.txt');
});

test.each([
  ['index.ts', main],
  ['testing/index.ts', testing],
  ['undici/index.ts', undici],
  ['sse/index.ts', sse],
  ['nestjs/index.ts', nestjs],
] as const)(
  'what the listing of src/%s calls a class, function or const is there at run time, and nothing else',
  (entry, module) => {
    const values = publicNames(entry).filter((line) => !line.startsWith('type '));
    expect(new Set(Object.keys(module))).toEqual(new Set(values.map((line) => line.split(' ')[1])));
  },
);
