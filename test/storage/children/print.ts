import { writeSync } from 'node:fs';

/** Prints a line at once: what is printed has reached the parent even if this process is killed next. */
export function print(line: string): void {
  let rest = Buffer.from(`${line}\n`);
  while (rest.length > 0) {
    try {
      rest = rest.subarray(writeSync(1, rest));
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EAGAIN') throw error; // the parent has not read yet
    }
  }
}
