import { randomBytes, randomInt } from 'node:crypto';

const LETTERS = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ';

/** An event id as in rooms of version 4 and later: `$` and 43 characters. */
export function randomEventId(): string {
  return `$${randomBytes(32).toString('base64url')}`;
}

/** Ten capital letters, as in Synapse's device ids. */
export function randomDeviceId(): string {
  let id = '';
  while (id.length < 10) id += LETTERS[randomInt(LETTERS.length)];
  return id;
}

/** The id of an uploaded file. */
export function randomMediaId(): string {
  return Array.from({ length: 24 }, () => LETTERS[randomInt(LETTERS.length)]).join('');
}

/** @param kind - `syt` for access tokens, `syr` for refresh tokens */
export function randomToken(kind: 'syt' | 'syr'): string {
  return `${kind}_${randomBytes(24).toString('base64url')}`;
}
