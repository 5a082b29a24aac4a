import { defineConfig } from 'vitest/config';
import { publishedNames } from './vitest.config.js';

/** For scripts/mutation, which says by itself what to run. */
export default defineConfig({ resolve: publishedNames, test: { testTimeout: 20_000 } });
