import { expect, it } from 'vitest';
import { jsonCopy } from '../../src/core/json-copy.js';

it('copies what JSON can hold, all the way down', () => {
  const value = { a: [1, { b: null, c: 'd' }, []], e: { f: true, g: undefined } };
  const copy = jsonCopy(value);
  expect(copy).toStrictEqual(value);
  (copy.a[1] as { c: string }).c = 'changed';
  copy.e.f = false;
  expect(value).toStrictEqual({ a: [1, { b: null, c: 'd' }, []], e: { f: true, g: undefined } });
});

it('takes a key __proto__ for a key', () => {
  const value: unknown = JSON.parse('{"__proto__":{"polluted":{"a":1}},"b":1}');
  const copy = jsonCopy(value) as Record<string, unknown>;
  expect(Object.keys(copy)).toEqual(['__proto__', 'b']);
  expect(Object.getPrototypeOf(copy)).toBe(Object.prototype);
  expect(copy.polluted).toBeUndefined();
});

it('copies 100,000 levels without recursion', () => {
  const value: unknown = JSON.parse(`${'{"a":['.repeat(50_000)}1${']}'.repeat(50_000)}`);
  const copy = jsonCopy(value);
  let [a, b, shared] = [value, copy, 0];
  for (let level = 0; level < 50_000; level++) {
    if (a === b) shared++;
    [a, b] = [a, b].map((inner) => (inner as { a: unknown[] }).a[0]) as [unknown, unknown];
  }
  expect([a, b, shared]).toEqual([1, 1, 0]);
});
