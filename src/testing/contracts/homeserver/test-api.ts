import type { World } from './world.js';

/** The functions of a test runner that a contract suite needs. Pass those of Vitest or Jest. */
export interface TestApi {
  readonly describe: (title: string, body: () => void) => void;
  readonly it: (title: string, body: () => Promise<void>, timeoutMs?: number) => void;
  readonly expect: (actual: unknown, message?: string) => Expectation;
}

/** The matchers that the suites use. Vitest and Jest have them. */
export interface Expectation {
  readonly not: Expectation;
  toBe(expected: unknown): void;
  toEqual(expected: unknown): void;
  toMatchObject(expected: object): void;
  toContain(expected: unknown): void;
  toContainEqual(expected: unknown): void;
  toHaveLength(expected: number): void;
  toMatch(expected: RegExp): void;
  toBeGreaterThan(expected: number): void;
  toBeLessThan(expected: number): void;
  toBeUndefined(): void;
  toBeDefined(): void;
}

/** The arguments of each part of the suite. */
export interface Suite extends TestApi {
  readonly world: () => Promise<World>;
}
