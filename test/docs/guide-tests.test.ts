/** The tests that the guide shows, run as they stand there. */
const page = 'docs/guide/testing-with-vitest.md';
await import(`${page}/notifier.test.ts`);
await import(`${page}/notifier-msw.test.ts`);
