import { expect, it } from 'vitest';
import { systemClock } from '../../src/core/clock.js';
import { silentLogger } from '../../src/core/logger.js';
import { normalizeCryptoStoreOptions } from '../../src/encryption/crypto-store-options.js';

const required = { path: '/keys/crypto.sqlite', secret: new Uint8Array(32) };

it('the options of a crypto store get their defaults, and no counter file that was not named', () => {
  const options = normalizeCryptoStoreOptions(required);
  expect(options).toMatchObject({ ...required, logger: silentLogger, clock: systemClock });
  expect('counterPath' in options).toBe(false);
  expect(options.onCorruption({} as never)).toBeUndefined();
  expect(options.onCommit(true, 1)).toBeUndefined();
  expect(normalizeCryptoStoreOptions({ ...required, counterPath: '/counters' }).counterPath).toBe('/counters');
});

it.each([
  ['', "''"],
  [5, 'number'],
  [null, 'null'],
  [required.path, required.path],
])('the options of a crypto store are refused with the counter file %j', (counterPath, shown) => {
  const options = { ...required, counterPath: counterPath as string };
  expect(() => normalizeCryptoStoreOptions(options)).toThrow(
    expect.objectContaining({ code: 'INVALID_OPTIONS', message: expect.stringContaining('counterPath') as string }),
  );
  expect(() => normalizeCryptoStoreOptions(options)).toThrow(shown.replaceAll("'", ''));
});

it.each([
  ['path', { path: '' }],
  ['secret', { secret: 'short' }],
])('the options of a crypto store are refused with a wrong %s, as those of the CryptoStore', (name, wrong) => {
  expect(() => normalizeCryptoStoreOptions({ ...required, ...wrong })).toThrow(
    `expected \`${name}\` of CryptoStore to be `,
  );
});
