import { existsSync, globSync, readFileSync } from 'node:fs';
import { basename, join, resolve } from 'node:path';
import type { DefaultTheme } from 'vitepress';

const docs = resolve(import.meta.dirname, '..');

export const repository = 'https://github.com/matrix-client-manager/matrix-client-manager';

export const nav: DefaultTheme.NavItem[] = [
  { text: 'Guide', link: '/guide/' },
  { text: 'Reference', link: '/reference/options' },
  { text: 'API', link: '/api/' },
  { text: 'Changelog', link: `${repository}/blob/main/CHANGELOG.md` },
];

/** The pages of the guide, in the order in which a newcomer reads them. */
const guide = [
  'index',
  'getting-started',
  'demo',
  'preparing-synapse',
  'accounts',
  'client-lifecycle',
  'callbacks-and-guarantees',
  'history',
  'sending',
  'files',
  'profiles-and-account-data',
  'rooms',
  'other-endpoints',
  'browsers',
  'nestjs',
  'encryption',
  'storage',
  'outages',
  'observability',
  'testing-with-vitest',
  'testing-with-jest',
  'scaling',
];

const apiKinds = {
  classes: 'Classes',
  functions: 'Functions',
  interfaces: 'Interfaces',
  'type-aliases': 'Types',
  variables: 'Constants',
} as const;

/** All pages. A page of the guide that is not in the order above stands at the end. */
export function sidebar(): DefaultTheme.SidebarItem[] {
  return [
    { text: 'Guide', items: pagesIn('guide', guide) },
    { text: 'Reference', items: pagesIn('reference', ['options', 'errors', 'events', 'metrics']) },
    { text: 'API', collapsed: true, items: apiModules() },
    { text: 'Internals', collapsed: true, items: pagesIn('internals', []) },
  ].filter(({ items }) => items.length > 0);
}

function pagesIn(folder: string, order: readonly string[]): DefaultTheme.SidebarItem[] {
  const found = globSync('*.md', { cwd: join(docs, folder) }).map((file) => basename(file, '.md'));
  const known = order.filter((name) => found.includes(name));
  const others = found.filter((name) => !order.includes(name)).toSorted();
  return [...known, ...others].map((name) => item(`${folder}/${name}`));
}

/** What typedoc has made: a folder per entry of the package, in it one per kind. */
function apiModules(): DefaultTheme.SidebarItem[] {
  return [
    'matrix-client-manager',
    'matrix-client-manager/testing',
    'matrix-client-manager/undici',
    'matrix-client-manager/sse',
    'matrix-client-manager/nestjs',
  ]
    .filter((name) => existsSync(join(docs, 'api', name)))
    .map((name) => ({
      text: name,
      link: `/api/${name}/`,
      collapsed: true,
      items: Object.entries(apiKinds)
        .map(([kind, text]) => ({ text, collapsed: true, items: pagesIn(`api/${name}/${kind}`, []).map(shortened) }))
        .filter(({ items }) => items.length > 0),
    }));
}

function shortened({ link = '' }: DefaultTheme.SidebarItem): DefaultTheme.SidebarItem {
  return { text: basename(link), link };
}

function item(path: string): DefaultTheme.SidebarItem {
  const title = /^# (.+)$/m.exec(readFileSync(join(docs, `${path}.md`), 'utf8'))?.[1];
  if (title === undefined) throw new Error(`expected docs/${path}.md to have a heading`);
  const isOverview = path.endsWith('/index');
  return { text: isOverview ? 'Overview' : title, link: `/${isOverview ? path.slice(0, -'index'.length) : path}` };
}
