import { relative } from 'node:path';
import { describe, inject } from 'vitest';

/** The one file that vitest is given: it imports the test files of the area, so that one worker holds all their tests. */
for (const file of inject('mutationTestFiles')) {
  // oxlint-disable-next-line vitest/valid-title -- named for the file
  describe(relative(process.cwd(), file), async () => {
    await import(/* @vite-ignore */ file);
  });
}
