import { readdirSync } from 'node:fs';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { openHomeserver } from '../../examples/homeserver.js';
import { examplesFolder, ExampleProcess } from '../support/example-process.js';

// Each example is a process of its own, which takes a second or two to start on a busy machine.
vi.setConfig({ testTimeout: 60_000 });

const running = new Set<ExampleProcess>();

function start(name: string, env: NodeJS.ProcessEnv = {}): ExampleProcess {
  const example = new ExampleProcess(name, env);
  running.add(example);
  return example;
}

afterEach(() => {
  for (const example of running) example.kill('SIGKILL');
  running.clear();
});

const outputs: Readonly<Record<string, readonly (string | RegExp)[]>> = {
  demo: [
    'an embedded homeserver',
    /Alice is @demo-alice:\S+ on device \S+, a new account/,
    "Bob's client is live",
    "Bob's callback: Alice is typing",
    'Bob\'s callback: message "Hello Bob!" (live)',
    "Alice's callback: Bob has read it",
    "source 'synced'",
    "source 'mixed'",
    "source 'rest'",
    "Bob's client has stopped, reason 'idle'",
    'message "Are you there?" (gap-fill)',
    'message "Back again." (live)',
    /Done in \d+\.\d seconds\.\n$/,
  ],
  'quick-start': ['@alice:hs.test says: Hello Bob!', "The room's history has 1 message"],
  callbacks: [
    '[log]   invitation to "Callbacks" from @alice:hs.test',
    '[store] message "Hello" from @alice:hs.test (live)',
    '[log]   reaction 👋 from @alice:hs.test',
    '[error] attempt 3 failed: cannot handle this',
    '[dead]  given up: message "poison"',
    'Dead letter after 3 attempts (cannot handle this): message "poison"',
  ],
  'encrypted-support-desk': [
    'agent two reads: My order has not come. (decrypted, live)',
    'The desk restarts',
    'agent two reads: I am looking into it. (decrypted, gap-fill)',
    "customer's history: It comes tomorrow.",
  ],
  'history-paging': [
    '[mixed] message 7 | message 6 | message 5',
    '[rest] message 7 | message 6 | message 5',
    '[rest] message 4 | message 3 | (taken back: a mistake)',
    '[rest] message one (edited)',
    'm.room.name History',
  ],
};

describe.each(Object.entries(outputs))('examples/%s.ts', (name, expected) => {
  test('prints what it promises, and ends by itself without a fault', async () => {
    const { code, stdout, stderr } = await start(name).ended();
    expect(stderr).toBe('');
    for (const part of expected) expect(stdout).toMatch(part);
    expect(code).toBe(0);
  });
});

test('every example is run by a test', () => {
  const names = readdirSync(examplesFolder).filter((name) => name.endsWith('.ts') && !name.endsWith('.test.ts'));
  const helper = 'homeserver.ts';
  expect(names.filter((name) => name !== helper).toSorted()).toEqual(
    [...Object.keys(outputs), 'graceful-shutdown', 'operator'].map((name) => `${name}.ts`).toSorted(),
  );
});

describe('examples/graceful-shutdown.ts', () => {
  test('serves, answers /healthz, and on SIGTERM ends by itself with code 0', async () => {
    const example = start('graceful-shutdown');
    const [, url = '', user = '', room = ''] = await example.printed(
      /listening on (\S+) with user (\S+) in room (\S+)/,
    );
    const health = await fetch(`${url}/healthz`);
    expect([health.status, await health.json()]).toEqual([200, { status: 'ok', reasons: [] }]);
    const sent = await fetch(`${url}/messages`, {
      method: 'POST',
      body: JSON.stringify({ user, room, text: 'Hello' }),
    });
    expect(sent.status).toBe(201);
    expect(await sent.json()).toEqual({ eventId: expect.stringMatching(/^\$/) });
    const bad = await fetch(`${url}/messages?user=${user}&room=lobby`);
    expect([bad.status, await bad.json()]).toEqual([400, { error: 'INVALID_OPTIONS' }]);

    example.kill('SIGTERM');
    const { code, stdout } = await example.ended();
    expect(stdout).toMatch(/SIGTERM: shutting down\nclient of \S+ stopped: shutdown\nnothing is left running\n$/);
    expect(code).toBe(0);
  });
});

describe('a homeserver named by the environment', () => {
  const url = 'http://127.0.0.1:9';
  const user = '@admin:hs.test';

  test('is used as given', async () => {
    const env = { MATRIX_HOMESERVER_URL: url, MATRIX_ADMIN_USER: user, MATRIX_ADMIN_TOKEN: 't' };
    const homeserver = await openHomeserver(env);
    expect(homeserver).toMatchObject({ url, admin: { userId: user, accessToken: 't' }, embedded: false });
    expect(homeserver.username('alice')).toMatch(/^alice-[0-9a-f]{6}$/);
  });

  test.each([
    ['the admin', { MATRIX_HOMESERVER_URL: url }, /expected MATRIX_ADMIN_USER beside/],
    ['token and password', { MATRIX_HOMESERVER_URL: url, MATRIX_ADMIN_USER: user }, /expected MATRIX_ADMIN_TOKEN or/],
    ['the URL', { MATRIX_ADMIN_USER: user }, /MATRIX_ADMIN_USER is set, and MATRIX_HOMESERVER_URL is not/],
  ])('is an error that says what is missing: %s', async (_what, env, message) => {
    await expect(openHomeserver(env)).rejects.toThrow(message);
  });

  test('makes the demo fail with code 1 and a hint when it is wrong', async () => {
    const env = { MATRIX_HOMESERVER_URL: url, MATRIX_ADMIN_USER: 'admin', MATRIX_ADMIN_TOKEN: 't' };
    const { code, stderr } = await start('demo', env).ended();
    expect(stderr).toMatch(/INVALID_USER_ID[^]*MATRIX_ADMIN_USER is a full user id/);
    expect(code).toBe(1);
  });
});
