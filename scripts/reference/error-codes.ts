import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import ts from 'typescript';
import type { ErrorCode } from '../../src/core/errors.js';

export interface ErrorCodeDoc {
  readonly code: ErrorCode;
  readonly happened: string;
  readonly remedy: string;
}

/** The codes of src/core/errors.ts, with the two parts of their comments. */
export function errorCodeDocs(): ErrorCodeDoc[] {
  const path = resolve(import.meta.dirname, '../../src/core/errors.ts');
  const text = readFileSync(path, 'utf8');
  const source = ts.createSourceFile(path, text, ts.ScriptTarget.Latest, true);
  const found: ErrorCodeDoc[] = [];
  const visit = (node: ts.Node): void => {
    if (ts.isStringLiteral(node) && ts.isArrayLiteralExpression(node.parent)) found.push(docOf(node, text));
    else ts.forEachChild(node, visit);
  };
  visit(source);
  return found;
}

function docOf(node: ts.StringLiteral, text: string): ErrorCodeDoc {
  const comment = ts
    .getLeadingCommentRanges(text, node.getFullStart())
    ?.map(({ pos, end }) => text.slice(pos, end))
    .at(-1)
    ?.replace(/^\/\*\*/, '')
    .replace(/\*\/$/, '')
    .replaceAll(/^\s*\* ?/gm, '')
    .replaceAll(/\s+/g, ' ')
    .trim();
  const [happened, remedy] = comment?.split(' Remedy: ') ?? [];
  if (!happened || !remedy) {
    throw new Error(`expected the comment of ${node.text} to be "what happened. Remedy: what to do", got ${comment}`);
  }
  return { code: node.text as ErrorCode, happened, remedy: `${remedy[0]?.toUpperCase()}${remedy.slice(1)}` };
}
