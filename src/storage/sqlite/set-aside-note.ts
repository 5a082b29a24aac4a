import { closeSync, constants, fsyncSync, ftruncateSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { basename } from 'node:path';
import type { Logger } from '../../core/logger.js';
import { isObject } from '../../core/raw-event.js';

/** Kept in `<path>.damaged` from before a damaged database is moved aside until the damage is reported. */
export interface SetAsideNote {
  /** What was found. */
  readonly reason: string;
  /** The new name of the database, in the same folder, which may have been moved itself. */
  readonly movedTo: string;
  /** How many processes have begun the report. */
  readonly reports: number;
}

/**
 * The note beside `path`. Undefined if there is none that can be used.
 * @param nameStart - what the name in the note begins with
 */
export function readNote(path: string, nameStart: string): SetAsideNote | undefined {
  try {
    const note: unknown = JSON.parse(readFileSync(notePath(path), 'utf8'));
    if (!isObject(note)) return undefined;
    const { reason, movedTo, reports } = note;
    if (typeof reason !== 'string' || typeof movedTo !== 'string' || typeof reports !== 'number') return undefined;
    return movedTo.startsWith(nameStart) && basename(movedTo) === movedTo ? { reason, movedTo, reports } : undefined;
  } catch {
    return undefined; // there is none, or it is cut short
  }
}

/**
 * Writes the note to the disk: the move that follows must not survive a power failure without it. A failure is logged.
 * @returns whether it was written
 */
export function writeNote(path: string, note: SetAsideNote, logger: Logger): boolean {
  try {
    const text = JSON.stringify(note);
    // Not truncated before: a new count overwrites the old one in place, and so never leaves an empty note.
    const descriptor = openSync(notePath(path), constants.O_WRONLY | constants.O_CREAT, 0o600);
    try {
      writeFileSync(descriptor, text);
      ftruncateSync(descriptor, Buffer.byteLength(text));
      fsyncSync(descriptor);
    } finally {
      closeSync(descriptor);
    }
    return true;
  } catch (error) {
    logger.warn({ path: notePath(path), error }, 'the note about a damaged storage file could not be written');
    return false;
  }
}

/** Removes the note, if there is one. A failure is logged: the storage can be opened with the note. */
export function removeNote(path: string, logger: Logger): void {
  try {
    rmSync(notePath(path), { force: true });
  } catch (error) {
    logger.warn({ path: notePath(path), error }, 'the note about a damaged storage file could not be removed');
  }
}

function notePath(path: string): string {
  return `${path}.damaged`;
}
