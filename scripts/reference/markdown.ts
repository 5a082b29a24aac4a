/** A table; cells are Markdown already. */
export function table(header: readonly string[], rows: readonly (readonly string[])[]): string {
  return [row(header), row(header.map(() => '---')), ...rows.map(row)].join('\n');
}

function row(cells: readonly string[]): string {
  return `| ${cells.join(' | ')} |`;
}

/** Text of a doc comment, on one line and safe in a table cell and in a Vue template, which VitePress makes of a page. */
export function prose(text: string): string {
  return oneLine(text.replaceAll(/\{@link ([^}]+?)\s*\}/g, '`$1`'))
    .split(/(`[^`]*`)/)
    .map((part) => (part.startsWith('`') ? part : part.replaceAll('<', '&lt;')))
    .join('')
    .replaceAll('|', String.raw`\|`);
}

export function code(text: string): string {
  return `\`${oneLine(text).replaceAll('|', String.raw`\|`)}\``;
}

export function page(title: string, ...parts: readonly string[]): string {
  const note = '<!-- Generated from the source by `npm run docs:reference`. Do not edit. -->';
  return `${[note, `# ${title}`, ...parts].join('\n\n')}\n`;
}

function oneLine(text: string): string {
  return text.replaceAll(/\s+/g, ' ').trim();
}
