import { closeSync, existsSync, fsyncSync, openSync, readFileSync, writeSync } from 'node:fs';

/** Keeps a recovery key as an application should: it is on the disk when this returns. */
export function keepRecoveryKey(path: string, recoveryKey: string): void {
  const file = openSync(path, 'a', 0o600);
  try {
    writeSync(file, `${recoveryKey}\n`);
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
}

/** The recovery keys that were kept, the valid one last. A line without its end was cut short by a kill. */
export function recoveryKeysIn(path: string): string[] {
  return existsSync(path) ? readFileSync(path, 'utf8').split('\n').slice(0, -1) : [];
}
