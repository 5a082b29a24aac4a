import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { describe, expect, test, vi } from 'vitest';
import { compileBlocks } from './docs/compile-blocks.js';
import { anchors, codeBlocks, headings, linkTargets, withoutCode } from './docs/markdown.js';
import { guidePages, pages, read, root } from './docs/pages.js';

// The compiler reads the whole library.
vi.setConfig({ testTimeout: 60_000 });

const readme = read('README.md');
/** Pages of the site name files outside of it by this address. */
const repository = 'https://github.com/matrix-client-manager/matrix-client-manager/blob/main/';

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
  test('is short, and leads to every page of the guide', () => {
    expect(readme.split('\n').length - 1).toBeLessThanOrEqual(150);
    expect(guidePages.filter((page) => !linkTargets(readme).includes(page))).toEqual([]);
  });
});

test('CONTRIBUTING.md tells about every script that tests or shows something', () => {
  const { scripts } = JSON.parse(read('package.json')) as { scripts: Record<string, string> };
  const told = Object.keys(scripts).filter((name) => !/^(pre|post|check:|build|lint|typecheck)/.test(name));
  const text = read('CONTRIBUTING.md');
  expect(told.filter((name) => !new RegExp(`npm (run )?${name}(?![\\w:-])`).test(text))).toEqual([]);
});

describe('the guide', () => {
  const guide = guidePages.map(read).join('\n');

  test.each(['MatrixClientManager', 'AdminApi'])('names every method of %s', (name) => {
    const methods = membersOf(name).filter((member) => !member.startsWith('['));
    expect(methods.filter((method) => !new RegExp(String.raw`\b${method}\b`).test(guide))).toEqual([]);
  });

  test('lists every method of the manager on its first page', () => {
    const methods = membersOf('MatrixClientManager').filter((member) => !member.startsWith('['));
    const overview = read('docs/guide/index.md');
    expect(methods.filter((method) => !overview.includes(`\`${method}\``))).toEqual([]);
  });

  test.each(['MatrixClientManagerOptions', 'EncryptionOptions'])('names every option of %s', (name) => {
    expect(membersOf(name).filter((option) => !guide.includes(option))).toEqual([]);
  });
});

test('ARCHITECTURE.md leads to every page about the internals', () => {
  const internals = pages.filter((page) => page.startsWith('docs/internals/'));
  expect(internals.length).toBeGreaterThan(0);
  expect(internals.filter((page) => !linkTargets(read('ARCHITECTURE.md')).includes(page))).toEqual([]);
});

test('the code of all pages compiles', () => {
  const blocks = pages.flatMap((page) => {
    return codeBlocks(read(page), 'ts').map(({ name, code }) => [`${page}/${name}`, code] as const);
  });
  expect(compileBlocks(new Map(blocks), root)).toEqual([]);
});

describe.each(pages)('%s', (page) => {
  const text = read(page);

  test('links to what is there', () => {
    const dead = linkTargets(text).filter((target) => {
      if (target.startsWith(repository)) return !existsSync(root + target.slice(repository.length));
      if (/^https?:/.test(target)) return false;
      const [file = '', anchor] = target.split('#');
      const path = file === '' ? page : join(dirname(page), file);
      // The site has docs/ alone.
      if (page.startsWith('docs/') && !path.startsWith('docs/')) return true;
      return !existsSync(root + path) || (anchor !== undefined && !anchors(read(path)).includes(anchor));
    });
    expect(dead).toEqual([]);
  });

  test('names scripts and source files that exist', () => {
    const { scripts } = JSON.parse(read('package.json')) as { scripts: Record<string, string> };
    const named = [...text.matchAll(/npm run ([\w:]+)/g)].map(([, script = '']) => script);
    expect(named.filter((script) => !(script in scripts))).toEqual([]);
    const files = text.match(/(?<![\w/.@])(src|test|scripts|examples|bench|docs)\/[\w./-]+\.\w+\b/g) ?? [];
    expect(files.filter((file) => !existsSync(root + file))).toEqual([]);
    const folders = text.match(/(?<![\w/.@])src\/[\w-]+\/(?![\w-])/g) ?? [];
    expect(folders.filter((folder) => !existsSync(root + folder))).toEqual([]);
  });

  test('looks the same on GitHub and on the site, which takes `<T>` and `{{` outside of code for its own', () => {
    expect(withoutCode(text).match(/<\/?[A-Za-z][^>]*>|\{\{/g) ?? []).toEqual([]);
    // Of other characters GitHub and VitePress make different anchors.
    expect(
      headings(text).filter((title) => /^docs\/(guide|internals)\//.test(page) && /[^\p{L}\p{N} -]/u.test(title)),
    ).toEqual([]);
  });
});
