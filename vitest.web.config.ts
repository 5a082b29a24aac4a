import { defineConfig } from 'vitest/config';
import { publishedNames } from './vitest.config.js';

/**
 * The page of the demo in Chromium, on the fake homeserver and on Synapse. Chromium is Debian's; it is installed if it is
 * missing. Screenshots are written to `.screenshots/`.
 */
export default defineConfig({
  resolve: publishedNames,
  test: {
    include: ['test/web/**/*.test.ts'],
    globalSetup: ['test/web/chromium-setup.ts'],
    testTimeout: 60_000,
    hookTimeout: 120_000,
    fileParallelism: false, // they share two cores with Chromium
  },
});
