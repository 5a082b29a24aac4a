import { existsSync, renameSync } from 'node:fs';

/** The files that one database consists of, by what follows its path. */
const parts = ['', '-wal', '-shm', '-journal'];

/**
 * Moves a damaged database to `<path>.corrupt-<time>`, its log beside it so that SQLite's tools still find both.
 * @param nowMs - milliseconds since the Unix epoch
 * @returns where the database is now
 */
export function setAside(path: string, nowMs: number): string {
  const time = new Date(nowMs).toISOString().replaceAll(/[-:.]/g, '');
  let target = `${path}.corrupt-${time}`;
  for (let n = 2; parts.some((part) => existsSync(target + part)); n++) target = `${path}.corrupt-${time}-${n}`;
  for (const part of parts) {
    if (existsSync(path + part)) renameSync(path + part, target + part);
  }
  return target;
}
