import { expect, it } from 'vitest';
import { readOptions } from '../../src/manager/options.js';

const required = { path: '/keys/crypto.sqlite', secret: new Uint8Array(32) };

const read = (encryption: object) =>
  readOptions({ homeserverUrl: 'https://hs.test', encryption: encryption as typeof required }).encryption;

it('the options of encryption get their defaults, and no counter file that was not named', () => {
  const options = read(required);
  expect(options).toMatchObject({ ...required, decryptionTimeoutMs: 30_000, identity: { trust: 'all' } });
  expect(options?.users('@anyone:hs.test')).toBe(true);
  expect(Object.keys(options ?? {})).not.toContain('counterPath');
  expect(read({ ...required, counterPath: '/counters' })?.counterPath).toBe('/counters');
});

it.each([
  ['path', '', "''"],
  ['path', 'x\0y', 'a string of 3 characters'],
  ['secret', 'short', 'a string of 5 characters'],
  ['secret', new Uint8Array(31), '31 bytes'],
  ['counterPath', '', "''"],
  ['counterPath', 5, 'number'],
  ['counterPath', null, 'null'],
  ['counterPath', required.path, required.path],
  ['counterPath', '/keys/../keys//crypto.sqlite', required.path],
  ['onCorruption', 5, 'number'],
  ['users', {}, 'object'],
  ['decryptionTimeoutMs', -1, '-1'],
  ['trust', 'none', 'none'],
])('the options of encryption are refused with %s %j', (name, wrong, shown) => {
  expect(() => read({ ...required, [name]: wrong })).toThrow(
    expect.objectContaining({
      code: 'INVALID_OPTIONS',
      message: expect.stringContaining(`expected \`encryption.${name}\``) as string,
    }),
  );
  expect(() => read({ ...required, [name]: wrong })).toThrow(shown.replaceAll("'", ''));
});

it.each([
  ['trust', { trust: 'verified' }],
  ['crossSigning', { crossSigning: true }],
  ['keyBackup', { keyBackup: true, onRecoveryKey: () => {} }],
])('%s is refused without what it needs', (name, options) => {
  expect(() => read({ ...required, ...options })).toThrow(`encryption.${name}`);
});
