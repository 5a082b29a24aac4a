/**
 * Leaves texts for people (error messages, log lines) unmutated: a literal with a space in it that is not SQL. No test
 * should hold on to their wording. Logic is never excluded here; a mutant that changes nothing observable is marked
 * where it stands, with its reason (`// Stryker disable next-line ...: why`).
 */
const prose = {
  shouldIgnore({ node }: { readonly node: AstNode }): string | undefined {
    const text =
      node.type === 'StringLiteral'
        ? node.value
        : node.type === 'TemplateLiteral'
          ? node.quasis?.map(({ value }) => value.cooked).join('')
          : undefined;
    const isSql = /^\s*(SELECT|INSERT|UPDATE|DELETE|CREATE|PRAGMA|BEGIN|ON CONFLICT|WHERE)\b/.test(text ?? '');
    return text?.trim().includes(' ') && !isSql ? 'text for people' : undefined;
  },
};

interface AstNode {
  readonly type: string;
  readonly value?: string;
  readonly quasis?: readonly { readonly value: { readonly cooked: string } }[];
}

export const strykerPlugins = [{ kind: 'Ignore', name: 'prose', value: prose }];
