import { defineConfig } from 'vitest/config';

/** The suites that need a real Synapse; it is started before them and stopped after. */
export default defineConfig({
  test: {
    include: ['test/synapse/**/*.test.ts'],
    globalSetup: ['test/synapse/synapse-setup.ts'],
    testTimeout: 120_000,
    hookTimeout: 120_000,
    fileParallelism: false, // they share two cores with Synapse
  },
});
