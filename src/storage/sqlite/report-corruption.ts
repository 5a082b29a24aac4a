import { existsSync, readdirSync, renameSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
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
const belongsToDatabase = /-(?:wal|shm|journal)$/;

/**
 * Moves a damaged database to `<path>.corrupt-<time>`, together with its log, so that SQLite's tools can still open it. Ends
 * a move that was interrupted between the database and its log.
 * @param nowMs - milliseconds since the Unix epoch
 * @returns the new path of the database
 */
export function setAside(path: string, nowMs: number): string {
  const target = interruptedMove(path) ?? freeTarget(path, nowMs);
  for (const suffix of suffixes) {
    if (existsSync(path + suffix)) renameSync(path + suffix, target + suffix);
  }
  return target;
}

function freeTarget(path: string, nowMs: number): string {
  const time = new Date(nowMs).toISOString().replaceAll(/[-:.]/g, '');
  let target = `${path}.corrupt-${time}`;
  for (let n = 2; suffixes.some((suffix) => existsSync(target + suffix)); n++) target = `${path}.corrupt-${time}-${n}`;
  return target;
}

/** Where the database was moved to whose log is still here: the newest one without a log. The database is moved first. */
function interruptedMove(path: string): string | undefined {
  if (existsSync(path)) return undefined;
  const folder = dirname(path);
  const names = new Set(readdirSync(folder).filter((name) => name.startsWith(`${basename(path)}.corrupt-`)));
  const moved = [...names]
    .filter((name) => !belongsToDatabase.test(name))
    .toSorted()
    .at(-1);
  return moved === undefined || names.has(`${moved}-wal`) ? undefined : join(folder, moved);
}
