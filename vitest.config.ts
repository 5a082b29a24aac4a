import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vitest/config';
import { encryptedLives } from './vitest.encryption.config.js';

const source = (path: string): string => fileURLToPath(new URL(path, import.meta.url));

export default defineConfig({
  resolve: {
    // Examples import by the published name and run from the source; tsconfig.json says the same to tsc and tsx.
    alias: [
      { find: /^matrix-client-manager$/, replacement: source('src/index.ts') },
      { find: /^matrix-client-manager\/testing$/, replacement: source('src/testing/index.ts') },
      { find: /^matrix-client-manager\/undici$/, replacement: source('src/undici/index.ts') },
    ],
  },
  test: {
    maxWorkers: '100%', // by default one core is left idle
    include: ['test/**/*.test.ts', 'examples/**/*.test.ts'],
    exclude: ['test/synapse/**', encryptedLives],
    testTimeout: 20_000,
  },
});
