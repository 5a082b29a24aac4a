import { describe, expect, it } from 'vitest';
import { toSendableJson } from '../../src/core/sendable-json.js';

const invalid = (message: RegExp): object =>
  expect.objectContaining({ code: 'INVALID_OPTIONS', message: expect.stringMatching(message) as string });

function nested(levels: number): unknown {
  let value: unknown = 'x';
  for (let level = 0; level < levels; level++) value = level % 2 ? [value] : { a: value };
  return value;
}

it('copies JSON, so that a later change of it changes nothing', () => {
  const value = { a: [1, { b: null, c: 'd' }, [], {}], e: { f: true } };
  const copy = toSendableJson(value, 'content');
  expect(copy).toStrictEqual(value);
  value.e.f = false;
  expect(copy.e.f).toBe(true);
});

it('treats undefined, toJSON() and keys as JSON.stringify does', () => {
  const value = { a: undefined, b: [undefined, 1], c: new Date(0), d: Buffer.from('x'), ['__proto__']: { e: 1 } };
  const copy = toSendableJson<object>(value, 'content');
  expect(JSON.stringify(copy)).toBe(JSON.stringify(value));
  expect(Object.getPrototypeOf(copy)).toBe(Object.prototype);
});

it('counts the bytes that JSON.stringify would make', () => {
  for (const value of [{}, [], { a: 1 }, { é: ['\n"', null, true, -5, {}], b: { c: [[], []] } }, { x: undefined }]) {
    const bytes = Buffer.byteLength(JSON.stringify(value));
    expect(() => toSendableJson(value, 'content', bytes)).not.toThrow();
    expect(() => toSendableJson({ a: [value] }, 'content', bytes)).toThrow(invalid(/at most .* bytes/));
  }
});

it('allows 100 levels, and refuses more of them without a deeper recursion', () => {
  expect(toSendableJson(nested(100), 'content')).toStrictEqual(nested(100));
  for (const levels of [101, 20_000, 1_000_000]) {
    expect(() => toSendableJson(nested(levels), 'content')).toThrow(invalid(/at most 100 levels/));
  }
});

it('ends where values are shared so often that writing them out would not', () => {
  let value: unknown = 'x';
  for (let level = 0; level < 90; level++) value = [value, value];
  expect(() => toSendableJson(value, 'content', 60_000)).toThrow(invalid(/at most 60000 bytes/));
  const long: unknown[] = [];
  long.length = 4e9;
  expect(() => toSendableJson(long, 'content', 60_000)).toThrow(invalid(/at most 60000 bytes/));
});

describe('refuses', () => {
  const circle: Record<string, unknown> = {};
  circle.a = [circle];
  const throwing = {
    get a(): unknown {
      throw new Error('no');
    },
  };
  const cases: Record<string, [unknown, RegExp]> = {
    'half an emoji in a string': [{ a: { b: ['order \ud83d'] } }, /unpaired surrogate at `content\.a\.b\.0`/],
    'half an emoji in a key': [{ a: { '\udc00x': 1 } }, /unpaired surrogate at `content\.a\.�x`/],
    'half an emoji by itself': ['\udc00', /unpaired surrogate at `content`/],
    'a circle': [circle, /a circular reference at `content\.a\.0`/],
    'a fraction': [{ a: [0.5] }, /whole numbers below 2\^53 in an event, got another at `content\.a\.0`/],
    'a number that is none': [{ a: Number.NaN }, /whole numbers/],
    'a large number': [{ a: 2 ** 53 }, /whole numbers/],
    'a function': [{ a: () => 1 }, /got a function at `content\.a`/],
    'a bigint': [{ a: 1n }, /got a bigint at/],
    'a symbol': [{ a: Symbol('a') }, /got a symbol at/],
    'a map': [{ a: new Map() }, /has no form for at `content\.a`/],
    'a promise': [{ a: Promise.resolve() }, /has no form for/],
    'a list of bytes': [{ a: new Uint8Array(2) }, /has no form for/],
    'a getter that throws': [throwing, /throws when it is read at `content\.a`/],
    'a toJSON() that throws': [{ toJSON: () => throwing.a }, /throws when it is read at `content`/],
    'a toJSON() without an end': [endless(), /at most 100 levels/],
    'a toJSON() that gives a proxy that was revoked': [{ toJSON: () => revoked() }, /throws when it is read/],
    'a proxy that was revoked': [{ a: revoked() }, /throws when it is read/],
  };
  it.each(Object.entries(cases))('%s', (_name, [value, message]) => {
    expect(() => toSendableJson(value, 'content')).toThrow(invalid(message));
  });
});

function endless(): object {
  return { toJSON: () => ({ a: endless() }) };
}

function revoked(): object {
  const { proxy, revoke } = Proxy.revocable({}, {});
  revoke();
  return proxy;
}
