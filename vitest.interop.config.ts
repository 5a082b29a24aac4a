import { defineConfig } from 'vitest/config';
import { isShortRun } from './test/interop/support/clients-of-this-run.js';

/** The library and clients of others on a real Synapse. `npm run test:interop:short` is the form for CI. */
export default defineConfig({
  test: {
    include: ['test/interop/**/*.test.ts'],
    exclude: isShortRun ? ['test/interop/large-rooms.test.ts'] : [],
    globalSetup: ['test/interop/interop-setup.ts'],
    testTimeout: 120_000,
    hookTimeout: 120_000,
    fileParallelism: false, // they share two cores with Synapse
  },
});
