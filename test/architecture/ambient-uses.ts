import ts from 'typescript';
import { parse, walk } from './source-files.js';
import type { SourceFile } from './source-files.js';

const timers = new Set(['setTimeout', 'setInterval', 'clearTimeout', 'clearInterval']);
const members = new Set(['Date.now', 'Math.random', 'performance.now', 'AbortSignal.timeout', 'process.hrtime']);
const modules = new Set(['node:timers', 'node:timers/promises', 'timers', 'timers/promises']);
const globals = new Set(['globalThis', 'global', 'window', 'self']);

/** Where a file takes time from elsewhere than its clock, or chance from elsewhere than node:crypto: `line: what`. */
export function ambientUses(file: SourceFile): string[] {
  const source = parse(file);
  const uses: string[] = [];
  walk(source, (node) => {
    const use = ambientUse(node);
    if (use === undefined) return;
    const { line } = source.getLineAndCharacterOfPosition(node.getStart());
    uses.push(`src/${file.path}:${line + 1}: ${use}`);
  });
  return uses;
}

function ambientUse(node: ts.Node): string | undefined {
  if (
    ts.isImportDeclaration(node) &&
    ts.isStringLiteral(node.moduleSpecifier) &&
    modules.has(node.moduleSpecifier.text)
  ) {
    return node.moduleSpecifier.text;
  }
  if (ts.isNewExpression(node) && ts.isIdentifier(node.expression) && node.expression.text === 'Date') {
    return (node.arguments?.length ?? 0) === 0 ? 'new Date()' : undefined;
  }
  if (ts.isPropertyAccessExpression(node)) {
    const name = node.getText().replace(/^(globalThis|global)\./, '');
    if (members.has(name)) return name;
    const isGlobal = ts.isIdentifier(node.expression) && globals.has(node.expression.text);
    return isGlobal && timers.has(node.name.text) ? node.getText() : undefined;
  }
  // Handed on or called; a method of that name, declared or called on a clock, is none.
  if (!ts.isIdentifier(node) || !timers.has(node.text)) return undefined;
  const { parent } = node;
  const isName =
    (ts.isPropertyAccessExpression(parent) && parent.name === node) ||
    ((ts.isMethodDeclaration(parent) || ts.isMethodSignature(parent) || ts.isPropertyAssignment(parent)) &&
      parent.name === node) ||
    ts.isBindingElement(parent);
  return isName ? undefined : node.text;
}
