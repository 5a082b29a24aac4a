import { describe, expect, test } from 'vitest';
import { ambientUses } from './architecture/ambient-uses.js';
import { findCycles, importProblem } from './architecture/layers.js';
import { unverifiedAccesses } from './architecture/network-keys.js';
import { importsOf, loadedBy, readSource } from './architecture/source-files.js';

const MAX_LINES = 300;

const files = readSource();
const imports = files.flatMap(importsOf);

/** Files past the limit that do not explain themselves yet. To be emptied, not added to. */
const unexplainedSoFar = new Set<string>();

/** Rings of type imports that are left. To be emptied, not added to. */
const sync = 'testing/fake-homeserver/sync';
const ringsSoFar = new Set([`${sync}/sync-context.ts -> ${sync}/timeline.ts -> ${sync}/sync-context.ts`]);

function at(from: string, to: string): string | undefined {
  return importProblem({ from, to, isPackage: false });
}

describe('the source', () => {
  test('imports down the layers only; no barrel, no sibling, nothing from testing/', () => {
    expect(imports.map(importProblem).filter((problem) => problem !== undefined)).toEqual([]);
  });

  test('imports files that exist, by their whole name', () => {
    const known = new Set(files.map(({ path }) => path));
    expect(imports.filter(({ to, isPackage }) => !isPackage && !known.has(to))).toEqual([]);
  });

  test('imports matrix-js-sdk in sdk/ alone', () => {
    const elsewhere = imports.filter(({ to, from }) => to.startsWith('matrix-js-sdk') && !from.startsWith('sdk/'));
    expect(elsewhere.map(({ from }) => from)).toEqual([]);
    expect(imports.some(({ to }) => to.startsWith('matrix-js-sdk'))).toBe(true);
  });

  test('loads no optional part with the manager: the SDK, encryption and SQLite come with their first use', () => {
    const optional = /^(matrix-js-sdk|fake-indexeddb|@matrix-org|undici|node:sqlite)\b|^sdk\/|^encryption\/store\//;
    expect(loadedBy('index.ts', files).filter((loaded) => optional.test(loaded))).toEqual([]);
    expect(loadedBy('users/user-session.ts', files).filter((loaded) => optional.test(loaded))).toEqual([]);
    expect(loadedBy('sdk/sync-client.ts', files)).toContain('matrix-js-sdk');
  });

  test('connects the concepts in manager/compose.ts: the public methods reach no http, storage or resilience', () => {
    const facade = imports.filter(({ from }) => from === 'manager/matrix-client-manager.ts');
    expect(facade.map(({ to }) => to)).toContain('manager/compose.ts');
    expect(facade.filter(({ to }) => /^(http|storage|resilience|telemetry)\//.test(to))).toEqual([]);
    const importers = imports.filter(({ to }) => to === 'manager/compose.ts').map(({ from }) => from);
    expect(importers.filter((from) => !from.startsWith('manager/'))).toEqual([]);
  });

  test('has no ring of imports', () => {
    expect(findCycles(imports).filter((ring) => !ringsSoFar.has(ring))).toEqual([]);
  });

  test('re-exports in its entries, and does nothing else there', () => {
    for (const { path, text } of files.filter(({ path }) =>
      ['index.ts', 'testing/index.ts', 'undici/index.ts', 'sse/index.ts', 'nestjs/index.ts'].includes(path),
    )) {
      const other = text
        .replaceAll(/\/\*[^]*?\*\/|\/\/.*$/gm, '')
        .replaceAll(/export (type )?\{[^}]*\} from '[^']+';/g, '')
        .trim();
      expect(other, `src/${path}`).toBe('');
    }
  });

  test('takes time from the injected clock and chance from node:crypto', () => {
    const bound = files.filter(({ path }) => path !== 'core/clock.ts' && !path.startsWith('testing/'));
    expect(bound.flatMap(ambientUses)).toEqual([]);
  });

  test('makes the error for an invalid argument in one place', () => {
    const makesOne = /MatrixClientManagerError\(\s*'INVALID_OPTIONS'/;
    expect(files.filter(({ text }) => makesOne.test(text)).map(({ path }) => path)).toEqual(['core/errors.ts']);
  });

  test('reaches into no object by a key that may come from the network: those belong into a Map', () => {
    expect(files.flatMap(unverifiedAccesses)).toEqual([]);
    const careless = {
      path: 'x.ts',
      text: 'content[eventId] ??= {}; list[0]; list[list.length - 1]; map.get(eventId);',
    };
    expect(unverifiedAccesses(careless)).toEqual(['x.ts: content[eventId]']);
  });

  test(`says why where a file is longer than ${MAX_LINES} lines ("... is long because ...")`, () => {
    const unexplained = files
      .filter(({ text }) => text.split('\n').length - 1 > MAX_LINES)
      .filter(({ text }) => !/\blong because\b/.test(text.replaceAll(/\n\s*(\*|\/\/)\s*/g, ' ')))
      .map(({ path }) => path);
    expect(unexplained.filter((path) => !unexplainedSoFar.has(path))).toEqual([]);
  });
});

describe('the checks themselves', () => {
  test('see an import that points up, to a sibling, to the barrel, to testing/ or out of src/', () => {
    expect(at('core/ids.ts', 'http/path.ts')).toMatch(/down the layers/);
    expect(at('delivery/delivery.ts', 'callbacks/callback.ts')).toMatch(/siblings/);
    expect(at('manager/options.ts', 'index.ts')).toMatch(/barrel/);
    expect(at('core/clock.ts', 'testing/manual-clock.ts')).toMatch(/imported by nobody/);
    expect(at('core/clock.ts', '../test/fixture.ts')).toMatch(/outside/);
    expect(at('utils/things.ts', 'core/ids.ts')).toMatch(/no folder utils/);
    expect(importProblem({ from: 'core/ids.ts', to: 'matrix-client-manager', isPackage: true })).toMatch(/own name/);
  });

  test('let an import pass that points down, stays in its folder, or is an entry', () => {
    expect(at('delivery/delivery.ts', 'storage/checkpoint.ts')).toBeUndefined();
    expect(at('manager/options.ts', 'core/clock.ts')).toBeUndefined();
    expect(at('http/retry.ts', 'http/session.ts')).toBeUndefined();
    expect(at('index.ts', 'manager/options.ts')).toBeUndefined();
    expect(at('testing/manual-clock.ts', 'core/clock.ts')).toBeUndefined();
  });

  test('see a ring', () => {
    const ring = [
      ['a.ts', 'b.ts'],
      ['b.ts', 'c.ts'],
      ['c.ts', 'b.ts'],
    ].map(([from = '', to = '']) => ({ from, to, isPackage: false }));
    expect(findCycles(ring)).toEqual(['b.ts -> c.ts -> b.ts']);
  });

  test('see imports of types and dynamic ones', () => {
    const text = `import type { A } from './a.js'; export * from '../b.js'; await import('./c.js');`;
    expect(importsOf({ path: 'core/x.ts', text }).map(({ to }) => to)).toEqual(['core/a.ts', 'b.ts', 'core/c.ts']);
  });

  test.each([
    'Date.now()',
    'new Date()',
    'Math.random()',
    'performance.now()',
    'setTimeout(f, 1)',
    'globalThis.setTimeout(f, 1)',
    'const later = setInterval',
    'AbortSignal.timeout(5)',
    `import { setTimeout as wait } from 'node:timers/promises'`,
  ])('see `%s`', (text) => {
    expect(ambientUses({ path: 'x.ts', text })).not.toEqual([]);
  });

  test.each([
    'clock.setTimeout(f, 1)',
    'this.#options.clock.clearTimeout(t)',
    'interface Clock { setTimeout(f: () => void): void }',
    'new Date(at)',
    'Date.parse(text)',
    'setImmediate(f)',
  ])('let `%s` pass', (text) => {
    expect(ambientUses({ path: 'x.ts', text })).toEqual([]);
  });
});
