import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';
import { describe, expect, test, vi } from 'vitest';
import { errorCodes } from '../src/index.js';
import { compileBlocks } from './docs/compile-blocks.js';
import { anchors, codeBlocks, linkTargets, tableWith } from './docs/markdown.js';

// The compiler reads the whole library.
vi.setConfig({ testTimeout: 60_000 });

const root = fileURLToPath(new URL('..', import.meta.url));
const read = (path: string): string => readFileSync(root + path, 'utf8');
const readme = read('README.md');

/** Name and `@default` of each option, as the comments of src/manager/options.ts have them. */
function documentedOptions(): Map<string, string> {
  const source = ts.createSourceFile('options.ts', read('src/manager/options.ts'), ts.ScriptTarget.Latest, true);
  const options = source.statements.find(
    (node) => ts.isInterfaceDeclaration(node) && node.name.text === 'MatrixClientManagerOptions',
  ) as ts.InterfaceDeclaration;
  return new Map(
    options.members.filter(ts.isPropertySignature).map((member) => {
      const tag = ts.getJSDocTags(member).find(({ tagName }) => tagName.text === 'default');
      const fallback = ts.getTextOfJSDocComment(tag?.comment) ?? (member.questionToken ? 'none' : 'required');
      return [member.name.getText(), fallback];
    }),
  );
}

/** The members of an exported class or interface, as test/public-api.txt lists them. */
function membersOf(name: string): string[] {
  const line = read('test/public-api.txt')
    .split('\n')
    .find((entry) => entry.split(' ')[1] === name);
  if (line === undefined) throw new Error(`test/public-api.txt lists no ${name}`);
  return line
    .slice(line.indexOf('{') + 1, -1)
    .split(',')
    .map((member) => member.trim().replace('?', ''));
}

describe('README.md', () => {
  test('lists every option with its default, and no other', () => {
    const rows = tableWith(readme, 'Option', 'Default', 'Meaning');
    expect(new Map(rows.map(([name = '', fallback = '']) => [name, fallback]))).toEqual(documentedOptions());
  });

  test('lists every error code, and no other', () => {
    const rows = tableWith(readme, 'code', 'What happened', 'What to do');
    expect(rows.map(([code]) => code)).toEqual([...errorCodes]);
  });

  test('lists every event of the manager, and no other', () => {
    const rows = tableWith(readme, 'Event', 'Tells');
    expect(new Set(rows.map(([name]) => name))).toEqual(new Set(membersOf('ManagerEvents')));
  });

  test.each(['MatrixClientManager', 'AdminApi'])('names every method of %s', (name) => {
    const methods = membersOf(name).filter((member) => !member.startsWith('['));
    expect(methods.filter((method) => !new RegExp(String.raw`\b${method}\b`).test(readme))).toEqual([]);
  });

  test('tells contributors about every script that tests or shows something', () => {
    const { scripts } = JSON.parse(read('package.json')) as { scripts: Record<string, string> };
    const told = Object.keys(scripts).filter((name) => !/^(pre|post|check:|build|lint|typecheck)/.test(name));
    const text = readme + read('CONTRIBUTING.md');
    expect(told.filter((name) => !new RegExp(`npm (run )?${name}(?![\\w:-])`).test(text))).toEqual([]);
  });

  test('has code that compiles', () => {
    expect(compileBlocks(codeBlocks(readme, 'ts'), root)).toEqual([]);
  });
});

describe.each(['README.md', 'ARCHITECTURE.md', 'CHANGELOG.md'])('%s', (path) => {
  const text = read(path);

  test('links to what is there', () => {
    const dead = linkTargets(text).filter((target) => {
      if (/^https?:/.test(target)) return false;
      const [file = '', anchor] = target.split('#');
      if (file !== '' && !existsSync(root + file)) return true;
      return anchor !== undefined && !anchors(file === '' ? text : read(file)).includes(anchor);
    });
    expect(dead).toEqual([]);
  });

  test('names scripts and source files that exist', () => {
    const { scripts } = JSON.parse(read('package.json')) as { scripts: Record<string, string> };
    const named = [...text.matchAll(/npm run ([\w:]+)/g)].map(([, script = '']) => script);
    expect(named.filter((script) => !(script in scripts))).toEqual([]);
    const files = text.match(/(?<![\w/.])[\w-]+\/[\w./-]+\.ts\b/g) ?? [];
    expect(files.filter((file) => !existsSync(root + file) && !existsSync(`${root}src/${file}`))).toEqual([]);
  });
});
