/**
 * The text of a reply without the quotation that clients added to replies before version 1.13 of the specification:
 * `> <@user:example.org> ...`, further lines that begin with `>`, and an empty line. A quotation that names no user is
 * the sender's own.
 * @see https://spec.matrix.org/v1.12/client-server-api/#fallbacks-for-rich-replies
 */
export function withoutReplyFallback(text: string): string {
  if (!/^> (?:\* )?<@/.test(text)) return text;
  const lines = text.split('\n');
  const endIndex = lines.findIndex((line) => !/^>(?: |\r?$)/.test(line));
  if (endIndex < 0) return text;
  return lines.slice(/^\r?$/.test(lines[endIndex] ?? '') ? endIndex + 1 : endIndex).join('\n');
}

/** The HTML of a reply without the quotation in `<mx-reply>`, which may contain the quotation of another reply. */
export function withoutHtmlReplyFallback(html: string): string {
  if (!html.startsWith('<mx-reply>')) return html;
  let depth = 0;
  let end = 0;
  for (const { 0: tag, 1: slash, index } of html.matchAll(/<(\/?)mx-reply>/g)) {
    depth += slash === '' ? 1 : -1;
    if (slash !== '') end = index + tag.length;
    if (depth === 0) break;
  }
  return html.slice(end);
}
