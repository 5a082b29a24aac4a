/** Builds a request path in which every value is percent-encoded: path`/rooms/${roomId}/send/${type}/${txnId}`. */
export function path(parts: TemplateStringsArray, ...values: string[]): string {
  return parts.reduce((built, part, index) => built + encodeURIComponent(values[index - 1] ?? '') + part);
}
