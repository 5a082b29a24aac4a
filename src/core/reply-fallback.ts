const HTML_START = '<mx-reply>';
const HTML_END = '</mx-reply>';

/**
 * The text of a reply without the quotation that clients added to replies before version 1.13 of the specification:
 * `> <@user:example.org> ...`, further lines that begin with `>`, and an empty line. A quotation that names no user is
 * the sender's own.
 * @see https://spec.matrix.org/v1.12/client-server-api/#fallbacks-for-rich-replies
 */
export function withoutReplyFallback(text: string): string {
  if (!/^> (?:\* )?<@/.test(text)) return text;
  const lines = text.split('\n');
  const endIndex = lines.findIndex((line) => !line.startsWith('> ') && line !== '>');
  if (endIndex < 0) return text;
  return lines.slice(lines[endIndex] === '' ? endIndex + 1 : endIndex).join('\n');
}

/** The HTML of a reply without the quotation in `<mx-reply>`. */
export function withoutHtmlReplyFallback(html: string): string {
  if (!html.startsWith(HTML_START)) return html;
  const end = html.indexOf(HTML_END);
  return end < 0 ? html : html.slice(end + HTML_END.length);
}
