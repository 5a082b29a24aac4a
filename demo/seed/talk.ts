const lines: readonly string[] = [
  'I have just finished chapter {n}.',
  'Already? I am still in the middle of it.',
  'No hurry. Tell me what you think of the letter.',
  'The letter surprised me. I did not expect that from her.',
  'Read it again after the next chapter. It means something else then.',
  'Now you have made me curious.',
  'My favourite sentence so far is the one about the lighthouse.',
  'Mine, too. I have marked it.',
  'Shall we read chapter {n} aloud on Thursday?',
  'Good idea. You read, I make tea.',
];

/** So many messages of a book club, oldest first. */
export function bookTalk(count: number): string[] {
  return Array.from({ length: count }, (_, index) => {
    const line = lines[index % lines.length] ?? '';
    return line.replace('{n}', String(Math.floor(index / lines.length) + 1));
  });
}
