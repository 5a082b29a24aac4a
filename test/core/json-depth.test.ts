import { expect, it } from 'vitest';
import { isDeeperThan, jsonText } from '../../src/core/json-depth.js';

function nested(levels: number, inner: unknown = 1): object {
  let value: unknown = inner;
  for (let level = 0; level < levels; level++) value = level % 2 ? [0, value] : { a: value, b: {} };
  return value as object;
}

it('tells how deep a value is nested', () => {
  expect(isDeeperThan('a', 0)).toBe(false);
  expect(isDeeperThan(null, 0)).toBe(false);
  expect(isDeeperThan({}, 0)).toBe(true);
  expect(isDeeperThan({ a: [1, 2] }, 2)).toBe(false);
  expect(isDeeperThan({ a: [1, {}] }, 2)).toBe(true);
  expect(isDeeperThan(nested(100_000), 100)).toBe(true);
});

it('writes what JSON.stringify writes, at any depth', () => {
  const inner = { s: 'a"\n\ud83d', n: -0, f: 1.5, u: undefined, l: [undefined, null, true], ['__proto__']: {} };
  for (const levels of [0, 1, 150, 500]) {
    const value = { ...nested(levels, inner), inner };
    expect(jsonText(value)).toBe(JSON.stringify(value));
  }
  const text = `${'{"a":['.repeat(50_000)}1${']}'.repeat(50_000)}`;
  expect(jsonText(JSON.parse(text) as object)).toBe(text);
});
