import { expect, test, vi } from 'vitest';
import { Demo } from '../../demo/demo.js';
import { FakeHomeserver } from '../../src/testing/index.js';

test('ends on a homeserver that no longer answers, and names the accounts that stay', async () => {
  await using fake = new FakeHomeserver();
  await fake.listen();
  const env = {
    MATRIX_HOMESERVER_URL: fake.baseUrl,
    MATRIX_ADMIN_USER: fake.admin.userId,
    MATRIX_ADMIN_TOKEN: fake.admin.accessToken,
  };
  const demo = await Demo.start({ port: 0, env, deactivationTimeoutMs: 50 });
  fake.faults.hang({});
  const written = vi.spyOn(process.stderr, 'write').mockReturnValue(true);
  await demo[Symbol.asyncDispose]();
  const text = written.mock.calls.join('');
  written.mockRestore();
  for (const { userId } of demo.people.values()) expect(text).toContain(`The account ${userId} was not deactivated`);
});
