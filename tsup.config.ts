import { defineConfig } from 'tsup';
import type { Options } from 'tsup';

const common: Options = {
  entry: {
    index: 'src/index.ts',
    testing: 'src/testing/index.ts',
    undici: 'src/undici/index.ts',
    sse: 'src/sse/index.ts',
    nestjs: 'src/nestjs/index.ts',
  },
  target: 'node22',
  platform: 'node',
  splitting: true, // the entries share one error class
  sourcemap: true,
};

// The fake homeserver's server comes with it: who tests with it installs nothing more.
const bundled = ['hono', '@hono/node-server'];

/** The code for `import`; the benchmark builds it as well. */
export const esm: Options = { ...common, format: 'esm', noExternal: bundled };

/** `npm run build` clears the folder before, and scripts/finish-build.ts does the rest. */
export default defineConfig([
  esm,
  // These are published as ES modules only, which Jest's require() does not take.
  { ...common, format: 'cjs', noExternal: [...bundled, 'ky', 'p-queue'] },
  { ...common, format: ['esm', 'cjs'], dts: { only: true } },
  // The program of the package uses the library as an application does: by its published names.
  {
    entry: { cli: 'demo/cli.ts' },
    target: 'node22',
    platform: 'node',
    format: 'esm',
    splitting: false,
    external: [/^matrix-client-manager(\/|$)/],
    banner: { js: '#!/usr/bin/env node' },
  },
]);
