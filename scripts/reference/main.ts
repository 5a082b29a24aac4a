/** Writes docs/reference from the source. test/docs-reference.test.ts fails while what is checked in is not that. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { referencePages } from './pages.js';

for (const [path, text] of referencePages()) {
  const file = resolve(import.meta.dirname, '../..', path);
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, text);
}
