import { defineConfig } from 'vitest/config';

/** Whole lives of encrypted clients, which take seconds each; `npm test` has encryption's parts and its main job. */
const encryptedLives = [
  'test/encryption/{conversations,device-lives,encrypted-lives,first-messages,identities,leaks,unheard-lives}.test.ts',
  'test/encryption/{hostile-homeserver,lying-homeserver,message-senders}.test.ts',
  'test/encryption/{ended-calls,olm-recovery,verification-requests,withheld-keys}.test.ts',
  'test/encryption/store/{full-disk,processes}.test.ts',
  'test/sdk/crypto/open-crypto.test.ts',
  'test/telemetry/key-metrics.test.ts',
];

/** What takes most of the time, for `npm run test:long`: many clients, many random lives, the main job in another way. */
const manyLives = [
  'test/integration/{leaks,random-lives,prototypes,undici-plain-sync,unread-lives}.test.ts',
  'test/resilience/outage.test.ts',
  'test/sync/{fast-start,malformed-answers}.test.ts',
  'test/telemetry/operator.test.ts',
];

/** Large files, and storages compared over thousands of random calls. */
const muchData = ['test/http/media-http.test.ts', 'test/storage/storage-model.test.ts'];

export const longTests = [...encryptedLives, ...manyLives, ...muchData];

/** What `npm test` leaves out to stay short; `npm run test:encryption` takes the part that is about encryption. */
export default defineConfig({
  test: {
    maxWorkers: '100%',
    include: process.env.npm_lifecycle_event === 'test:encryption' ? encryptedLives : longTests,
    testTimeout: 60_000,
    hookTimeout: 60_000,
    expect: { poll: { timeout: 20_000 } },
  },
});
