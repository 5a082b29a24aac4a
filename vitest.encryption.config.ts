import { defineConfig } from 'vitest/config';

/** Whole lives of encrypted clients, which take seconds each; `npm test` has encryption's parts and its main job. */
export const encryptedLives =
  'test/encryption/{conversations,device-lives,encrypted-lives,first-messages,full-disk,identities,leaks,open-crypto,processes}.test.ts';

export default defineConfig({
  test: { maxWorkers: '100%', include: [encryptedLives], testTimeout: 60_000, hookTimeout: 60_000 },
});
