import { defineConfig } from 'vitest/config';

/** The crash suite in its short form: processes killed at random moments, on the fake homeserver and on Synapse. */
export default defineConfig({
  test: {
    include: ['test/**/*.crash.ts'],
    testTimeout: 240_000,
    hookTimeout: 120_000,
    fileParallelism: false,
  },
});
