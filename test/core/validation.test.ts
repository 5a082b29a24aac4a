import * as v from 'valibot';
import { describe, expect, it } from 'vitest';
import {
  checkArgument,
  checkListener,
  checkOptions,
  durationMs,
  flag,
  functionOf,
  listOf,
  name,
  nullAsAbsent,
  oneOf,
  optionsOf,
  userId,
  wholeNumber,
  wholeNumberOrInfinity,
  withMethods,
} from '../../src/core/validation.js';
import { allTextOf } from '../support/all-text-of.js';
import { rejection } from '../support/rejection.js';

interface Options {
  readonly token: string;
  readonly limit: number;
  readonly inner?: { readonly flag?: boolean };
  readonly names?: readonly string[];
  readonly run?: () => void;
  readonly clock?: { now(): number };
}

const schema = optionsOf<Options>({
  token: name,
  limit: v.optional(wholeNumber(1, 5), 3),
  inner: v.optional(optionsOf<{ flag?: boolean }>({ flag: v.optional(flag) })),
  names: v.optional(listOf(name)),
  run: v.optional(functionOf<() => void>()),
  clock: v.optional(withMethods<{ now(): number }>('now')),
});

const read = (options: unknown): Options => checkOptions('call()', schema, options);

describe('checked options', () => {
  it('are a copy with the defaults, and without what is undefined', () => {
    const options = { token: 'x', inner: { flag: undefined }, names: ['a'], run: undefined };
    const checked = read(options);
    expect(Object.entries(checked)).toEqual([
      ['token', 'x'],
      ['limit', 3],
      ['inner', {}],
      ['names', ['a']],
    ]);
    expect('flag' in (checked.inner ?? {})).toBe(false);
    options.names.push('b');
    expect(checked.names).toEqual(['a']);
  });

  it('keep objects with methods as they are', () => {
    const clock = { now: () => 1 };
    expect(read({ token: 'x', clock }).clock).toBe(clock);
  });

  it('may be inherited or come from a getter, which is called once', () => {
    let reads = 0;
    class Config {
      get token(): string {
        reads++;
        return 'x';
      }
    }
    expect(read(new Config()).token).toBe('x');
    expect(reads).toBe(1);
  });

  it.each([
    [{ token: 5 }, 'expected `token` of call() to be a non-empty string of Unicode text, got number'],
    [
      { token: '' },
      'expected `token` of call() to be a non-empty string of Unicode text, got a string of 0 characters',
    ],
    [{}, 'expected `token` of call() to be a non-empty string of Unicode text, got undefined'],
    [{ token: 'x', limit: 6 }, 'expected `limit` of call() to be a whole number from 1 to 5, got 6'],
    [{ token: 'x', limit: '2' }, 'expected `limit` of call() to be a whole number from 1 to 5, got "2"'],
    [{ token: 'x', inner: 'abc' }, 'expected `inner` of call() to be an object, got a string of 3 characters'],
    [{ token: 'x', inner: { flag: 'no' } }, 'expected `inner.flag` of call() to be true or false, got "no"'],
    [{ token: 'x', inner: { flags: 1 } }, 'there is no option `inner.flags` of call(); the options are flag'],
    [{ token: 'x', names: 'a' }, 'expected `names` of call() to be a list, got a string of 1 characters'],
    [
      { token: 'x', names: ['a', null] },
      'expected `names.1` of call() to be a non-empty string of Unicode text, got null',
    ],
    [{ token: 'x', run: {} }, 'expected `run` of call() to be a function, got object'],
    [{ token: 'x', clock: {} }, 'expected `clock` of call() to be an object with a method now(), got object'],
    [{ token: 'x', clock: null }, 'expected `clock` of call() to be an object with a method now(), got null'],
    [
      { token: 'x', more: 1 },
      'there is no option `more` of call(); the options are token, limit, inner, names, run, clock',
    ],
    [null, 'expected `options` of call() to be an object, got null'],
    [[], 'expected `options` of call() to be an object, got object'],
    ['syt_secret', 'expected `options` of call() to be an object, got a string of 10 characters'],
  ])('%j are refused: %s', async (options, message) => {
    const error = await rejection(() => read(options));
    expect(error).toMatchObject({ code: 'INVALID_OPTIONS', message });
  });

  it('show no string where another type is expected, because it may be a secret', async () => {
    for (const option of ['inner', 'names', 'run', 'clock']) {
      const error = await rejection(() => read({ token: 'x', [option]: 'syt_secret' }));
      expect(allTextOf(error)).not.toContain('syt_secret');
    }
  });

  it.each([
    [
      'a getter',
      () => ({
        token: 'x',
        get inner(): object {
          throw new Error('no');
        },
      }),
    ],
    [
      'a getter of an inner option',
      () => ({
        token: 'x',
        inner: {
          get flag(): boolean {
            throw new Error('no');
          },
        },
      }),
    ],
    [
      'a method',
      () => ({
        token: 'x',
        clock: {
          get now(): () => number {
            throw new Error('no');
          },
        },
      }),
    ],
    [
      'a list',
      () => ({
        token: 'x',
        names: Object.defineProperty([], 0, {
          get: () => {
            throw new Error('no');
          },
        }),
      }),
    ],
    [
      'the keys of a proxy',
      () =>
        new Proxy(
          {},
          {
            ownKeys: () => {
              throw new Error('no');
            },
          },
        ),
    ],
    ['a revoked proxy', () => revoked()],
    ['an inner revoked proxy', () => ({ token: 'x', inner: revoked() })],
  ])('of which %s throws are refused with the cause', async (_what, options) => {
    const error = await rejection(() => read(options()));
    expect(error).toMatchObject({
      code: 'INVALID_OPTIONS',
      message: '`options` of call() cannot be read: reading it throws',
    });
    expect(error.cause).toBeInstanceOf(Error);
  });

  it('cannot set a prototype', async () => {
    const options: unknown = JSON.parse('{ "token": "x", "__proto__": { "limit": 1 } }');
    expect(await rejection(() => read(options))).toMatchObject({
      message: expect.stringMatching(/^there is no option `__proto__`/) as string,
    });
    expect(Object.getPrototypeOf(read(Object.create({ token: 'x' })))).toBe(Object.prototype);
  });

  it('with an endless unknown name are refused with a short error of Unicode text', async () => {
    const { message } = await rejection(() => read({ token: 'x', ['😀'.repeat(1_000)]: 1 }));
    expect(message.length).toBeLessThan(200);
    expect(message.isWellFormed()).toBe(true);
  });
});

describe('a number', () => {
  it.each([
    [() => wholeNumber(1, 5), [1, 5], [0, 6, 1.5, '1', NaN, Infinity, null, true, 2n], 'a whole number from 1 to 5'],
    [() => wholeNumber(0), [0, 2 ** 53 - 1], [-1, 2 ** 53, Infinity], 'a whole number of at least 0'],
    [
      () => wholeNumberOrInfinity(1),
      [1, Infinity],
      [0, -Infinity, 1.5, NaN, '1'],
      'a whole number of at least 1, or Infinity',
    ],
    [() => durationMs(0), [0, 0.5, Infinity], [-1, NaN, '1', null, new Date(5)], 'a number of at least 0'],
    [() => durationMs(1, 9), [1, 9], [0, 9.5, Infinity, '5'], 'a number from 1 to 9'],
  ])('%#: is within its limits', async (schemaOf, good, bad, expected) => {
    const schema = schemaOf();
    for (const value of good) expect(checkArgument('x', schema, value)).toBe(value);
    for (const value of bad) {
      const { message } = await rejection(() => checkArgument('x', schema, value));
      expect(message).toContain(`expected \`x\` to be ${expected}, got `);
    }
  });

  it('is shown where another one is expected', async () => {
    expect((await rejection(() => checkArgument('x', durationMs(0), -5))).message).toMatch(/got -5$/);
    expect((await rejection(() => checkArgument('x', durationMs(0), 'half \ud83d'))).message.isWellFormed()).toBe(true);
  });

  it('may be null where that counts as absent', async () => {
    for (const [value, read] of [
      [null, undefined],
      [undefined, undefined],
      [5, 5],
    ]) {
      expect(checkArgument('x', nullAsAbsent(wholeNumber(1)), value)).toBe(read);
    }
    expect(await rejection(() => checkArgument('x', nullAsAbsent(wholeNumber(1)), 0))).toMatchObject({
      code: 'INVALID_OPTIONS',
    });
  });
});

describe('a checked argument', () => {
  it('is returned, or refused by its name', async () => {
    expect(checkArgument('mode', oneOf('a', 'b'), 'a')).toBe('a');
    const { message } = await rejection(() => checkArgument('mode', oneOf('a', 'b'), 'c'));
    expect(message).toBe('expected `mode` to be a, b, got "c"');
    expect(await rejection(() => checkArgument('userId', userId, 'x'))).toMatchObject({ code: 'INVALID_USER_ID' });
  });

  it('may be a listener of a known event', async () => {
    expect(() => checkListener(['a', 'b'], 'b', () => {})).not.toThrow();
    const unknown = await rejection(() => checkListener(['a', 'b'], 'c', () => {}));
    expect(unknown).toMatchObject({ code: 'INVALID_OPTIONS', message: 'there is no event "c"; the events are a, b' });
    const none = await rejection(() => checkListener(['a'], 'a', {}));
    expect(none).toMatchObject({
      code: 'INVALID_OPTIONS',
      message: 'expected `listener` to be a function, got object',
    });
  });
});

function revoked(): object {
  const { proxy, revoke } = Proxy.revocable({}, {});
  revoke();
  return proxy;
}
