import { defineConfig } from 'vitest/config';

/**
 * The built package, packed and installed as a user installs it; `npm run test:package` builds it before. Its files
 * end in .spec.ts, so that `npm test`, which takes .test.ts, stays quick.
 */
export default defineConfig({
  test: { include: ['test/package/**/*.spec.ts'], testTimeout: 120_000, hookTimeout: 300_000 },
});
