import { globSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { mutationAreas } from '../scripts/mutation/areas.js';
import { needFreshModules } from '../vitest.config.js';
import { longTests } from '../vitest.long.config.js';

const cwd = fileURLToPath(new URL('..', import.meta.url));

/** `a/{b,c}.ts` as `a/b.ts` and `a/c.ts`, each of which has to match. */
function alternatives(glob: string): string[] {
  const [braces, list] = /\{([^}]*)\}/.exec(glob) ?? [];
  return braces === undefined ? [glob] : list!.split(',').map((one) => glob.replace(braces, one));
}

test.each([
  ['needFreshModules of vitest.config.ts', needFreshModules],
  ['vitest.long.config.ts', longTests],
  ['scripts/mutation/areas.ts', Object.values(mutationAreas).flatMap(({ mutate, tests }) => [...mutate, ...tests])],
])('every path in %s matches a file', (_list, globs) => {
  expect(globs.flatMap(alternatives).filter((path) => globSync(path, { cwd }).length === 0)).toEqual([]);
});
