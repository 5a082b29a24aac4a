import { globSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

/** The repository's folder, with a slash at its end. */
export const root = fileURLToPath(new URL('../..', import.meta.url));

export const read = (path: string): string => readFileSync(root + path, 'utf8');

/** The pages of the guide, as paths from the root. */
export const guidePages = globSync('docs/guide/*.md', { cwd: root }).toSorted();

/** Every page for readers, as paths from the root. */
export const pages = [
  'README.md',
  'ARCHITECTURE.md',
  'CHANGELOG.md',
  'CONTRIBUTING.md',
  'SECURITY.md',
  ...guidePages,
  ...globSync('docs/{internals,reference}/*.md', { cwd: root }).toSorted(),
];
