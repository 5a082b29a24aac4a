/**
 * Leaves unmutated what no test can or should notice:
 *
 * - texts for people (error messages, log lines): a literal with a space in it that is not SQL. No test should hold on
 *   to their wording.
 * - `{ once: true }` of a listener: an abort signal fires once, so that it only frees the listener.
 * - `unref()` of a timer: it lets a process end, and none ends here.
 *
 * Other logic is never excluded here. A mutant that changes nothing observable is marked where it stands, with its
 * reason (`// Stryker disable next-line ...: why`).
 */
const unobservable = {
  shouldIgnore({ node }: { readonly node: AstNode }): string | undefined {
    if (isProse(node)) return 'text for people';
    if (node.type === 'ObjectExpression' && node.properties?.length === 1) {
      if (node.properties[0]?.key?.name === 'once') return 'only frees the listener';
    }
    const called = node.expression?.type.endsWith('CallExpression') ? node.expression.callee : node.callee;
    if (called?.property?.name === 'unref') return 'only lets a process end';
    return undefined;
  },
};

function isProse({ type, value, quasis }: AstNode): boolean {
  if (type !== 'StringLiteral' && type !== 'TemplateLiteral') return false;
  const text = (typeof value === 'string' ? value : (quasis ?? []).map(({ value }) => value.cooked).join('')).trim();
  const isSql = /^(SELECT|INSERT|UPDATE|DELETE|CREATE|PRAGMA|BEGIN|ON CONFLICT|WHERE)\b/.test(text);
  return text.includes(' ') && !isSql;
}

/** The parts of Babel's nodes that are looked at. */
interface AstNode {
  readonly type: string;
  readonly value?: unknown;
  readonly quasis?: readonly { readonly value: { readonly cooked: string } }[];
  readonly properties?: readonly { readonly key?: { readonly name?: string } }[];
  readonly expression?: AstNode;
  readonly callee?: AstNode;
  readonly property?: { readonly name?: string };
}

export const strykerPlugins = [{ kind: 'Ignore', name: 'unobservable', value: unobservable }];
