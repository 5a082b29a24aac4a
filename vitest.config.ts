import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vitest/config';
import { blockModules } from './test/docs/block-modules.js';
import { longTests } from './vitest.long.config.js';

const source = (path: string): string => fileURLToPath(new URL(path, import.meta.url));

/** The package's names, as examples import them. */
export const publishedNames = {
  // Examples import by the published name and run from the source; tsconfig.json says the same to tsc and tsx.
  alias: [
    { find: /^matrix-client-manager$/, replacement: source('src/index.ts') },
    { find: /^matrix-client-manager\/testing$/, replacement: source('src/testing/index.ts') },
    { find: /^matrix-client-manager\/undici$/, replacement: source('src/undici/index.ts') },
    { find: /^matrix-client-manager\/sse$/, replacement: source('src/sse/index.ts') },
    { find: /^matrix-client-manager\/nestjs$/, replacement: source('src/nestjs/index.ts') },
  ],
};

const include = ['test/**/*.test.ts', 'examples/**/*.test.ts'];
const exclude = ['test/synapse/**', 'test/interop/**', 'test/web/**', ...longTests];

/** What tests how modules are loaded, or what is done once per process. */
export const needFreshModules = [
  'test/docs/guide-programs.test.ts',
  'test/encryption/lazy.test.ts',
  'test/encryption/store/indexed-db/globals.test.ts',
  'test/manager/first-start.test.ts',
  'test/sdk/crypto/crypto-wasm.test.ts',
  'test/sdk/private-surface.test.ts',
  'test/testing/manual-clock.test.ts',
];

export default defineConfig({
  plugins: [blockModules()],
  resolve: publishedNames,
  test: {
    maxWorkers: '100%', // by default one core is left idle
    testTimeout: 20_000,
    projects: [
      // The files of a worker share their modules: loading these for each file took longer than the tests.
      { extends: true, test: { name: 'shared', include, exclude: [...exclude, ...needFreshModules], isolate: false } },
      { extends: true, test: { name: 'isolated', include: needFreshModules } },
    ],
  },
});
