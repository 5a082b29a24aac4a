import { existsSync, readdirSync, renameSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import type { Logger } from '../../core/logger.js';
import type { NormalizedSqliteOptions } from '../sqlite-storage-options.js';
import { readNote, removeNote, writeNote } from './set-aside-note.js';

/** A damaged database that was moved aside. */
export interface SetAside {
  /** What was found. */
  readonly reason: string;
  /** The new path of the database. */
  readonly movedTo: string;
}

/** The suffixes of the files that belong to one database. */
const suffixes = ['', '-wal', '-shm', '-journal'];
const belongsToDatabase = /-(?:wal|shm|journal)$/;

/** How many processes begin the report of one damage. */
const MAX_REPORTS = 3;

/**
 * Moves a damaged database to `<path>.corrupt-<time>`, together with its log, so that SQLite's tools can still open it.
 * Leaves a note beside it until `removeNote()`: if the process ends before, the next one has to report the damage.
 */
export function setAside(
  path: string,
  reason: string,
  { clock, logger }: Pick<NormalizedSqliteOptions, 'clock' | 'logger'>,
): SetAside {
  const movedTo = interruptedMove(path) ?? freeTarget(path, clock.now());
  // Without a note the file is moved nevertheless, because it is in the way of a new one.
  writeNote(path, { reason, movedTo: basename(movedTo), reports: 1 }, logger);
  moveFiles(path, movedTo);
  return { reason, movedTo };
}

/**
 * What an earlier process has moved aside, or begun to, and ended before it had reported it. Ends the move. The note stays
 * until `removeNote()`, but not for more than three reports: an application that ends the process at each report could
 * otherwise never start again.
 */
export function takeUnreported(path: string, logger: Logger): SetAside | undefined {
  const note = readNote(path, basename(targetStart(path)));
  const movedTo = note && join(dirname(path), note.movedTo);
  // A file at the old path is one that was not moved yet, whose damage is found again, or a new one.
  if (!note || !movedTo || existsSync(path) || !isTaken(movedTo)) {
    removeNote(path, logger);
    return undefined;
  }
  moveFiles(path, movedTo);
  const { reason, reports } = note;
  if (reports >= MAX_REPORTS) {
    removeNote(path, logger);
    logger.error(
      { path, movedTo, reason, reports },
      'every report of this damage ended the process; it is not repeated',
    );
    return undefined;
  }
  if (!writeNote(path, { ...note, reports: reports + 1 }, logger)) removeNote(path, logger);
  return { reason, movedTo };
}

/** The database first: the note, or the newest name, then tells where its log belongs. */
function moveFiles(path: string, target: string): void {
  for (const suffix of suffixes) {
    if (existsSync(path + suffix)) renameSync(path + suffix, target + suffix);
  }
}

/**
 * Where the database was moved to whose log is still here, if there is no usable note, for example after a power failure or
 * on a full disk: the newest one without a log.
 */
function interruptedMove(path: string): string | undefined {
  if (existsSync(path)) return undefined;
  const folder = dirname(path);
  const names = new Set(readdirSync(folder).filter((name) => name.startsWith(basename(targetStart(path)))));
  const moved = [...names]
    .filter((name) => !belongsToDatabase.test(name))
    .toSorted()
    .at(-1);
  return moved === undefined || names.has(`${moved}-wal`) ? undefined : join(folder, moved);
}

function targetStart(path: string): string {
  return `${path}.corrupt-`;
}

function freeTarget(path: string, nowMs: number): string {
  const first = targetStart(path) + new Date(nowMs).toISOString().replaceAll(/[-:.]/g, '');
  let target = first;
  for (let n = 2; isTaken(target); n++) target = `${first}-${n}`;
  return target;
}

function isTaken(target: string): boolean {
  return suffixes.some((suffix) => existsSync(target + suffix));
}
