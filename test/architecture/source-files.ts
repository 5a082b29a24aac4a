import { readdirSync, readFileSync } from 'node:fs';
import { join, posix } from 'node:path';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';

export const sourceRoot = fileURLToPath(new URL('../../src/', import.meta.url));

export interface SourceFile {
  /** From `src/` on, such as `core/clock.ts`. */
  readonly path: string;
  readonly text: string;
}

export interface Import {
  readonly from: string;
  /** A path like {@link SourceFile.path}, or the name of a package. */
  readonly to: string;
  readonly isPackage: boolean;
}

/** Every TypeScript file under `src/`. */
export function readSource(): SourceFile[] {
  return readdirSync(sourceRoot, { recursive: true, encoding: 'utf8' })
    .map((path) => path.replaceAll('\\', '/'))
    .filter((path) => path.endsWith('.ts'))
    .toSorted()
    .map((path) => ({ path, text: readFileSync(join(sourceRoot, path), 'utf8') }));
}

/** What a file imports and re-exports, types included, dynamic imports too. */
export function importsOf({ path, text }: SourceFile): Import[] {
  return ts.preProcessFile(text, true, true).importedFiles.map(({ fileName }) => {
    if (!fileName.startsWith('.')) return { from: path, to: fileName, isPackage: true };
    const to = posix.join(posix.dirname(path), fileName).replace(/\.js$/, '.ts');
    return { from: path, to, isPackage: false };
  });
}

/** What is loaded together with a file: what it and those files import, by paths and names of packages; no types. */
export function loadedBy(start: string, files: readonly SourceFile[]): string[] {
  const texts = new Map(files.map(({ path, text }) => [path, text]));
  const loaded = new Set([start]);
  for (const path of loaded) {
    const text = texts.get(path);
    if (text === undefined) continue; // a package
    // With `verbatimModuleSyntax` exactly what is marked as a type is left out; a dynamic import is none of these.
    const statements = parse({ path, text }).statements.filter(
      (node) =>
        (ts.isImportDeclaration(node) && node.importClause?.phaseModifier !== ts.SyntaxKind.TypeKeyword) ||
        (ts.isExportDeclaration(node) && !node.isTypeOnly && node.moduleSpecifier !== undefined),
    );
    const source = statements.map((node) => node.getText()).join('\n');
    for (const { to } of importsOf({ path, text: source })) loaded.add(to);
  }
  return [...loaded];
}

export function parse({ path, text }: SourceFile): ts.SourceFile {
  return ts.createSourceFile(path, text, ts.ScriptTarget.Latest, true);
}

/** Calls `visit` with every node below `node`. */
export function walk(node: ts.Node, visit: (node: ts.Node) => void): void {
  ts.forEachChild(node, (child) => {
    visit(child);
    walk(child, visit);
  });
}
