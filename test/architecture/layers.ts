import type { Import } from './source-files.js';

/** From the ground up; folders of one layer are siblings. A new folder under `src/` gets its place here. */
const layers: readonly (readonly string[])[] = [
  ['core'],
  ['storage', 'http', 'resilience', 'telemetry'],
  [
    'provisioning',
    'sync',
    'encryption',
    'delivery',
    'callbacks',
    'sending',
    'messages',
    'ephemeral',
    'files',
    'rooms',
    'profiles',
    'account-data',
  ],
  ['sdk'],
  ['appservice', 'cluster'],
  ['users'],
  ['manager'],
  ['undici', 'sse', 'nestjs'],
];

/** Entries: they re-export, and nobody imports them. */
const entries = new Set(['index.ts']);

/** Says what is wrong with an import, or nothing. */
export function importProblem({ from, to, isPackage }: Import): string | undefined {
  const problem = (why: string): string => `src/${from} imports ${to}: ${why}`;
  if (isPackage) return to.startsWith('matrix-client-manager') ? problem('the library by its own name') : undefined;
  if (to.startsWith('../')) return problem('what is outside of src/');
  if (entries.has(to)) return problem('the barrel');
  const [source, target] = [folderOf(from), folderOf(to)];
  if (source === target) return undefined;
  if (target === 'testing') return problem('testing/ is for tests, and imported by nobody');
  if (entries.has(from) || source === 'testing') return undefined;
  const [above, below] = [layerOf(source), layerOf(target)];
  if (above === -1 || below === -1) {
    return problem(`test/architecture/layers.ts knows no folder ${above === -1 ? source : target}/`);
  }
  if (above === below) return problem('siblings do not import each other; the manager wires them');
  return above < below ? problem('imports point down the layers') : undefined;
}

/** The rings of files that import each other, each as `a -> b -> a`. */
export function findCycles(imports: readonly Import[]): string[] {
  const graph = new Map<string, string[]>();
  for (const { from, to, isPackage } of imports) {
    if (!isPackage) graph.set(from, [...(graph.get(from) ?? []), to]);
  }
  const cycles: string[] = [];
  const done = new Set<string>();
  const visit = (file: string, path: readonly string[]): void => {
    const start = path.indexOf(file);
    if (start >= 0) cycles.push([...path.slice(start), file].join(' -> '));
    if (start >= 0 || done.has(file)) return;
    for (const next of graph.get(file) ?? []) visit(next, [...path, file]);
    done.add(file);
  };
  for (const file of graph.keys()) visit(file, []);
  return cycles;
}

function folderOf(path: string): string {
  return path.includes('/') ? path.slice(0, path.indexOf('/')) : path;
}

function layerOf(folder: string): number {
  return layers.findIndex((layer) => layer.includes(folder));
}
