export interface CodeBlock {
  readonly code: string;
  /** The file name in a comment on its first line (`// chat.ts`), else the number of the line where its code begins. */
  readonly name: string;
}

/** The code blocks of a language. */
export function codeBlocks(markdown: string, language: string): CodeBlock[] {
  return [...markdown.matchAll(/^```(\w+)\n([^]*?)^```$/gm)]
    .filter(([, tag]) => tag === language)
    .map(({ index, 2: code = '' }) => {
      const line = markdown.slice(0, index).split('\n').length + 1;
      return { code, name: /^\/\/ ([\w.-]+\.[jt]s)\n/.exec(code)?.[1] ?? `${line}.${language}` };
    });
}

/** The text without its code. */
export function withoutCode(markdown: string): string {
  return markdown.replaceAll(/^```[^]*?^```$/gm, '').replaceAll(/(`+)[^]*?\1/g, '');
}

/** What links lead to. */
export function linkTargets(markdown: string): string[] {
  return [...withoutCode(markdown).matchAll(/\]\(([^)\s]+)\)/g)].map(([, target = '']) => target);
}

export function headings(markdown: string): string[] {
  const text = markdown.replaceAll(/^```[^]*?^```$/gm, '');
  return [...text.matchAll(/^#+ (.+)$/gm)].map(([, title = '']) => title);
}

/** The anchors of the headings, as GitHub makes them. */
export function anchors(markdown: string): string[] {
  return headings(markdown).map((title) =>
    title
      .toLowerCase()
      .replaceAll(/[^\p{L}\p{N} -]/gu, '')
      .replaceAll(' ', '-'),
  );
}
