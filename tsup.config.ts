import { defineConfig } from 'tsup';

export default defineConfig({
  entry: { index: 'src/index.ts', testing: 'src/testing/index.ts', undici: 'src/undici/index.ts' },
  format: ['esm', 'cjs'],
  dts: true,
  target: 'node22',
  platform: 'node',
  splitting: true, // the entries share one error class
  sourcemap: true,
  clean: true,
  // The fake homeserver's server comes with it: who tests with it installs nothing more.
  noExternal: ['hono', '@hono/node-server'],
});
