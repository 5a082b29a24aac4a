import { defineConfig } from 'vitest/config';

/**
 * What users run: the built package, packed and installed as they install it, the examples, and the benchmark.
 * `npm run test:package` builds it before. Its files end in .spec.ts, so that `npm test`, which takes .test.ts, stays
 * quick.
 */
export default defineConfig({
  test: { include: ['test/package/**/*.spec.ts'], testTimeout: 120_000, hookTimeout: 300_000 },
});
