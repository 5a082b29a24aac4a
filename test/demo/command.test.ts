import { describe, expect, test } from 'vitest';
import { readCommand, usage } from '../../demo/command.js';
import { browserCommand } from '../../demo/open-browser.js';

describe('the arguments of the program', () => {
  test('demo alone has the usual port, opens the browser, and keeps the environment', () => {
    expect(readCommand(['demo'], { A: 'b' })).toEqual({ name: 'demo', port: 8787, open: true, env: { A: 'b' } });
  });

  test('name the homeserver, before the environment', () => {
    const args = [
      'demo',
      '--port',
      '0',
      '--no-open',
      '--homeserver',
      'http://hs',
      '--admin-user=@a:hs',
      '--admin-token=t',
    ];
    expect(readCommand(args, { MATRIX_HOMESERVER_URL: 'http://other' })).toEqual({
      name: 'demo',
      port: 0,
      open: false,
      env: { MATRIX_HOMESERVER_URL: 'http://hs', MATRIX_ADMIN_USER: '@a:hs', MATRIX_ADMIN_TOKEN: 't' },
    });
  });

  test.each([['--help'], ['-h'], ['demo', '--help']])('%s %s asks for help', (...args) => {
    expect(readCommand(args.filter(Boolean), {})).toEqual({ name: 'help' });
  });

  test.each([
    [[], /^Expected a command: demo/],
    [['dmeo'], /^Unknown command 'dmeo'/],
    [['demo', 'now'], /^Unexpected argument 'now'/],
    [['demo', '--prot', '1'], /'--prot'/],
    [['demo', '--port'], /--port/],
    [['demo', '--port', '80a'], /number from 0 to 65535, got '80a'/],
    [['demo', '--port', '65536'], /got '65536'/],
    [['demo', '--port=-1'], /got '-1'/],
  ])('are refused with a reason: %j', (args, problem) => {
    expect(readCommand(args, {})).toEqual({ name: 'invalid', problem: expect.stringMatching(problem) });
  });

  test('are all in the help', () => {
    for (const option of ['port', 'no-open', 'homeserver', 'admin-user', 'admin-token', 'admin-password', 'help']) {
      expect(usage).toContain(`--${option}`);
    }
  });
});

test('the browser opens only where somebody can see it', () => {
  const url = 'http://127.0.0.1:1/';
  expect(browserCommand(url, {}, 'linux')).toBeUndefined();
  expect(browserCommand(url, { DISPLAY: ':0' }, 'linux')).toEqual(['xdg-open', url]);
  expect(browserCommand(url, { DISPLAY: ':0', CI: '1' }, 'linux')).toBeUndefined();
  expect(browserCommand(url, {}, 'darwin')).toEqual(['open', url]);
  expect(browserCommand(url, { SSH_CONNECTION: 'x' }, 'darwin')).toBeUndefined();
});
