let chapters = 0;

/** Starts a chapter of the demo's output. */
export function chapter(title: string, ...explanation: string[]): void {
  console.log(`\n${++chapters}. ${title}`);
  for (const line of explanation) console.log(`   ${line}`);
}

/** One thing that happened. */
export function say(line: string): void {
  console.log(`   - ${line}`);
}
