import { existsSync, renameSync } from 'node:fs';
import { catchRejection } from '../../core/contain.js';
import type { CorruptionInfo, NormalizedSqliteOptions } from '../sqlite-storage-options.js';

/** Reports damage to the logger and to the application's callback, whose errors are only logged. */
export function reportCorruption(
  { logger, onCorruption }: Pick<NormalizedSqliteOptions, 'logger' | 'onCorruption'>,
  info: CorruptionInfo,
): void {
  logger.error({ ...info }, 'the storage file is damaged');
  const failed = (err: unknown): void => logger.error({ path: info.path, err }, 'onCorruption threw');
  try {
    const returned: unknown = onCorruption(info);
    if (returned !== undefined) catchRejection(returned, failed);
  } catch (error) {
    failed(error);
  }
}

/** The suffixes of the files that belong to one database. */
const suffixes = ['', '-wal', '-shm', '-journal'];

/**
 * Moves a damaged database to `<path>.corrupt-<time>`, together with its log, so that SQLite's tools can still open it.
 * @param nowMs - milliseconds since the Unix epoch
 * @returns the new path of the database
 */
export function setAside(path: string, nowMs: number): string {
  const time = new Date(nowMs).toISOString().replaceAll(/[-:.]/g, '');
  let target = `${path}.corrupt-${time}`;
  for (let n = 2; suffixes.some((suffix) => existsSync(target + suffix)); n++) target = `${path}.corrupt-${time}-${n}`;
  for (const suffix of suffixes) {
    if (existsSync(path + suffix)) renameSync(path + suffix, target + suffix);
  }
  return target;
}
