import { relative } from 'node:path';
import { describe, inject, it } from 'vitest';
import { hostTest } from './warm-protocol.ts';

/** The one file that vitest is given: it imports the test files of the area, so that one worker holds all their tests. */
for (const file of inject('mutationTestFiles')) {
  // oxlint-disable-next-line vitest/valid-title -- named for the file
  describe(relative(process.cwd(), file), async () => {
    await import(/* @vite-ignore */ file);
  });
}

/** Its body is the worker's: inside this test it runs those above, by request, as `onTestFinished` wants one. */
// oxlint-disable-next-line vitest/expect-expect, vitest/valid-title -- see above
it(hostTest, () => {}, Infinity);
