import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect, test, vi } from 'vitest';
import { referencePages } from '../scripts/reference/pages.js';
import { errorCodeDocs } from '../scripts/reference/error-codes.js';
import { errorCodes } from '../src/index.js';

// The compiler reads the whole library.
vi.setConfig({ testTimeout: 60_000 });

const read = (path: string): string => readFileSync(fileURLToPath(new URL(`../${path}`, import.meta.url)), 'utf8');

// When this fails, run `npm run docs:reference` and commit what it writes.
test('docs/reference is what npm run docs:reference makes of the source', () => {
  const pages = referencePages();
  const checkedIn = new Map([...pages.keys()].map((path) => [path, read(path)]));
  expect(checkedIn).toEqual(pages);
});

test('every error code says in its comment what happened and what to do', () => {
  expect(errorCodeDocs().map(({ code }) => code)).toEqual([...errorCodes]);
});
