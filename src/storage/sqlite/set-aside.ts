import { existsSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { isObject } from '../../core/raw-event.js';

/** A damaged database that was moved aside. */
export interface SetAside {
  /** What was found. */
  readonly reason: string;
  /** The new path of the database. */
  readonly movedTo: string;
}

/** The suffixes of the files that belong to one database. */
const suffixes = ['', '-wal', '-shm', '-journal'];

/**
 * Moves a damaged database to `<path>.corrupt-<time>`, together with its log, so that SQLite's tools can still open it.
 * Leaves a note beside it until {@link noteReported}: if the process ends before, the next one has to report the damage.
 * @param nowMs - milliseconds since the Unix epoch
 */
export function setAside(path: string, reason: string, nowMs: number): SetAside {
  const aside = { reason, movedTo: freeTarget(path, nowMs) };
  try {
    writeFileSync(notePath(path), JSON.stringify(aside), { mode: 0o600 });
  } catch {
    // The disk may be full. The damaged file is in the way of a new one, with or without a note.
  }
  moveFiles(path, aside.movedTo);
  return aside;
}

/** The note of {@link setAside} is not needed any more. */
export function noteReported(path: string): void {
  rmSync(notePath(path), { force: true });
}

/**
 * What an earlier process has moved aside, or begun to, and ended before it has reported it. Ends the move, and removes the
 * note: an application that ends the process when it gets the report could otherwise never start again.
 */
export function takeUnreported(path: string): SetAside | undefined {
  const aside = readNote(path);
  // A file at the old path is one that was not moved yet, whose damage is found again, or a new one.
  const isUnreported = aside !== undefined && !existsSync(path) && existsSync(aside.movedTo);
  if (isUnreported) moveFiles(path, aside.movedTo);
  noteReported(path);
  return isUnreported ? aside : undefined;
}

function notePath(path: string): string {
  return `${path}.damaged`;
}

function readNote(path: string): SetAside | undefined {
  try {
    const note: unknown = JSON.parse(readFileSync(notePath(path), 'utf8'));
    if (!isObject(note)) return undefined;
    const { reason, movedTo } = note;
    if (typeof reason !== 'string' || typeof movedTo !== 'string') return undefined;
    return movedTo.startsWith(targetStart(path)) ? { reason, movedTo } : undefined;
  } catch {
    return undefined; // there is none; or the process ended while it was written, before the move
  }
}

/** The database first: the note names where its log belongs. */
function moveFiles(path: string, target: string): void {
  for (const suffix of suffixes) {
    if (existsSync(path + suffix)) renameSync(path + suffix, target + suffix);
  }
}

function targetStart(path: string): string {
  return `${path}.corrupt-`;
}

function freeTarget(path: string, nowMs: number): string {
  const first = targetStart(path) + new Date(nowMs).toISOString().replaceAll(/[-:.]/g, '');
  let target = first;
  for (let n = 2; suffixes.some((suffix) => existsSync(target + suffix)); n++) target = `${first}-${n}`;
  return target;
}
