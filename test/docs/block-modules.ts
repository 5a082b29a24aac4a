import { dirname, join } from 'node:path';
import { codeBlocks } from './markdown.js';
import { read, root } from './pages.js';

/** What the plugin uses of Vite's interface. */
interface BlockModules {
  readonly name: string;
  readonly enforce: 'pre';
  resolveId(source: string, importer: string | undefined): string | undefined;
  load(id: string): string | undefined;
}

const MODULE = /^(.+\.md)\/([^/]+)$/;

/**
 * A Vite plugin that lets tests import the code blocks of a page: `docs/guide/files.md/12.ts` is the block on line 12,
 * and `docs/guide/getting-started.md/chat.ts` the one that begins with `// chat.ts`. Blocks of a page can import each
 * other by these names.
 */
export function blockModules(): BlockModules {
  return {
    name: 'block-modules',
    enforce: 'pre',
    resolveId(source, importer) {
      const isRelative = source.startsWith('./') && importer !== undefined;
      const path = isRelative ? join(dirname(importer), source) : join(root, source);
      return (isRelative || /^(docs\/|README)/.test(source)) && MODULE.test(path)
        ? path.replace(/\.js$/, '.ts')
        : undefined;
    },
    load(id) {
      // Vite names modules by their whole path or by that from its root, which begins with a slash too.
      const [, page, name] = MODULE.exec(id.startsWith(root) ? id.slice(root.length) : id.replace(/^\//, '')) ?? [];
      if (page === undefined) return undefined;
      const block = codeBlocks(read(page), 'ts').find((one) => one.name === name);
      if (!block) throw new Error(`${page} has no code block ${name}`);
      return block.code;
    },
  };
}
