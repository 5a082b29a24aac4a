/** Words that Synapse leaves out. */
const STOP_WORDS = new Set(['the', 'a', 'you', 'me', 'and', 'but']);

interface SearchTerm {
  readonly matches: (text: string) => boolean;
  /** The words and phrases of the term. */
  readonly highlights: string[];
}

/**
 * Reads a search term as Synapse on SQLite does: words are joined by "and" unless "or" stands between them, `-word` excludes
 * a word, and a phrase in quotes has to occur as it is. Whole words match, whatever their case. A plural matches its singular;
 * Synapse knows more forms of English words.
 */
export function parseSearchTerm(term: string): SearchTerm {
  const alternatives: ((words: string) => boolean)[][] = [[]];
  const highlights: string[] = [];
  const add = (phrase: string, isExcluded: boolean): void => {
    if (phrase === '') return;
    if (!isExcluded) highlights.push(phrase);
    const wanted = ` ${wordsOf(phrase)} `;
    alternatives.at(-1)?.push((words) => words.includes(wanted) !== isExcluded);
  };
  for (const [index, part] of term.split('"').entries()) {
    const words = part.match(/[\p{L}\p{N}_-]+/gu) ?? [];
    if (index % 2 === 1) {
      add(words.filter((word) => !STOP_WORDS.has(word)).join(' '), false);
      continue;
    }
    for (const word of words) {
      if (word.toLowerCase() === 'or') alternatives.push([]);
      else if (!STOP_WORDS.has(word)) add(word.replace(/^-+/, ''), word.startsWith('-'));
    }
  }
  const matches = (text: string): boolean => {
    const words = ` ${wordsOf(text)} `;
    return alternatives.some((conditions) => conditions.length > 0 && conditions.every((holds) => holds(words)));
  };
  return { matches, highlights };
}

function wordsOf(text: string): string {
  const words = text.toLowerCase().match(/[\p{L}\p{N}_]+/gu) ?? [];
  return words.map((word) => word.replace(/(?<=[^s])s$/, '')).join(' ');
}
