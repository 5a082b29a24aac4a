import { expect, inject, test } from 'vitest';
import { ExampleProcess } from '../support/example-process.js';

const { baseUrl, admin } = inject('synapse');
const named = { MATRIX_HOMESERVER_URL: baseUrl, MATRIX_ADMIN_USER: admin.userId };

test.each([
  ['demo', 'a password', { MATRIX_ADMIN_PASSWORD: admin.password }, /"Are you there\?" \(gap-fill\)[^]*Done in/],
  ['demo', 'a token', { MATRIX_ADMIN_TOKEN: admin.accessToken }, /"Are you there\?" \(gap-fill\)[^]*Done in/],
  ['quick-start', 'a token', { MATRIX_ADMIN_TOKEN: admin.accessToken }, /says: Hello Bob!\n.* has 1 message/],
  ['callbacks', 'a token', { MATRIX_ADMIN_TOKEN: admin.accessToken }, /Dead letter after 3 attempts/],
  ['history-paging', 'a token', { MATRIX_ADMIN_TOKEN: admin.accessToken }, /\[rest\] message one \(edited\)/],
])('examples/%s.ts runs on Synapse with %s of the admin', async (name, _what, secret, expected) => {
  const { code, stdout, stderr } = await new ExampleProcess(name, { ...named, ...secret }).ended();
  expect(stderr).toBe('');
  expect(stdout).toMatch(expected);
  expect(code).toBe(0);
});

test('examples/demo.ts says what is wrong with an admin token, without repeating it, and ends with code 1', async () => {
  const env = { ...named, MATRIX_ADMIN_TOKEN: 'syt_not_a_token' };
  const { code, stderr } = await new ExampleProcess('demo', env).ended();
  expect(stderr).toMatch(/UNKNOWN_TOKEN[^]*MATRIX_ADMIN_TOKEN is no token of this homeserver/);
  expect(stderr).not.toContain('syt_not_a_token');
  expect(code).toBe(1);
});
