import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { newUserId, normalizeUsername } from '../../src/core/ids.js';
import { rejection } from '../support/rejection.js';

/** What all spellings of a name have in common. */
function folded(name: string): string {
  return name.normalize('NFC').toLowerCase().normalize('NFC');
}

describe('normalizeUsername', () => {
  it.each([
    ['alice', 'alice'],
    ['Alice', 'alice'],
    ['Alice Smith', 'alice=20smith'],
    ['a=b', 'a=3db'],
    ['alice@example.org', 'alice=40example.org'],
    ['@alice:example.org', '=40alice=3aexample.org'],
    ['Jürgen', 'j=c3=bcrgen'],
    ['Ju\u0308rgen', 'j=c3=bcrgen'], // decomposed
    ['_bridge', '=5fbridge'],
    ['日', '=e6=97=a5'],
    ['\0', '=00'],
  ])('maps %j to %s', (name, username) => {
    expect(normalizeUsername(name)).toBe(username);
  });

  it('maps a name of digits only to a username that is none', () => {
    const username = normalizeUsername('12345');
    expect(username).toBe('=312345');
    expect(() => newUserId(username, 'x')).not.toThrow();
  });

  it('maps the upper and lower case of a letter that is composed in lower case only to one username', () => {
    expect(normalizeUsername('J\u030c')).toBe(normalizeUsername('\u01f0'));
  });

  it('refuses half a surrogate pair, which would map different names to one username', async () => {
    expect(await rejection(() => normalizeUsername('a\ud800'))).toMatchObject({ code: 'INVALID_USER_ID' });
  });

  it.each(['', undefined, null, 5])('refuses %j', async (name) => {
    expect(await rejection(() => normalizeUsername(name as string))).toMatchObject({ code: 'INVALID_USER_ID' });
  });

  it('maps every name to a username that an account can have', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme', minLength: 1, maxLength: 20 }), (name) => {
        expect(() => newUserId(normalizeUsername(name), 'x')).not.toThrow();
      }),
    );
  });

  it('maps two names to one username only if they are spellings of one name', () => {
    const unit = fc.constantFrom('a', 'A', '=', '_', '1', '3', '5', 'f', 'ü', 'Ü', '\u0308', '\u030c', 'j', 'J', 'ß');
    const name = fc.string({ unit, minLength: 1, maxLength: 4 });
    fc.assert(
      fc.property(name, name, (one, other) => {
        expect(normalizeUsername(one) === normalizeUsername(other)).toBe(folded(one) === folded(other));
      }),
      { numRuns: 2_000 },
    );
  });
});
