import { existsSync, globSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { nav, sidebar } from '../docs/.vitepress/navigation.js';

const docs = fileURLToPath(new URL('../docs/', import.meta.url));

interface Item {
  readonly link?: string;
  readonly items?: readonly Item[];
}

function linksOf(items: readonly Item[]): string[] {
  return items.flatMap(({ link, items: nested = [] }) => [...(link === undefined ? [] : [link]), ...linksOf(nested)]);
}

/** The pages behind links of the site, but those that typedoc makes. */
function filesOf(links: readonly string[]): string[] {
  return links
    .filter((link) => link.startsWith('/') && !link.startsWith('/api/'))
    .map((link) => `${link.slice(1)}${link.endsWith('/') ? 'index' : ''}.md`);
}

// VitePress looks for dead links in the text of pages only.
test('the navigation and the first page of the site lead to pages that exist', () => {
  const home = [...readFileSync(`${docs}index.md`, 'utf8').matchAll(/^\s+link: (\S+)$/gm)].map(([, link = '']) => link);
  expect(home.length).toBeGreaterThan(0);
  const files = filesOf([...home, ...linksOf(nav as Item[]), ...linksOf(sidebar())]);
  expect(files.filter((file) => !existsSync(docs + file))).toEqual([]);
});

test('the sidebar lists every page that is written for the site', () => {
  const listed = new Set(filesOf(linksOf(sidebar())));
  const pages = globSync('{guide,reference,internals}/*.md', { cwd: docs });
  expect(pages.length).toBeGreaterThan(0);
  expect(pages.filter((page) => !listed.has(page))).toEqual([]);
});
