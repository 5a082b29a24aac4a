import { invalidOptions, MatrixClientManagerError } from './errors.js';

const MAX_ID_BYTES = 255;

/**
 * Checks the id of an existing user: `@localpart:server`, 255 bytes at most. Historical localparts are allowed: any
 * Unicode text without `:` and NUL, even an empty one. {@link newUserId} checks the stricter grammar of new accounts.
 * @see https://spec.matrix.org/v1.16/appendices/#historical-user-ids
 */
export function assertUserId(userId: unknown): asserts userId is string {
  const problem = userIdProblem(userId);
  if (problem) {
    throw new MatrixClientManagerError('INVALID_USER_ID', `expected a user id like @alice:example.org: ${problem}`);
  }
}

/** Whether a value is a user id as {@link assertUserId} takes it. */
export function isUserId(value: unknown): value is string {
  return userIdProblem(value) === undefined;
}

function userIdProblem(userId: unknown): string | undefined {
  if (typeof userId !== 'string') return `got ${userId === null ? 'null' : typeof userId}`;
  if (!userId.startsWith('@')) return `${quote(userId)} does not start with "@"`;
  const colon = userId.indexOf(':');
  if (colon === -1) return `${quote(userId)} has no ":server"`;
  if (userId.includes('\0') || !userId.isWellFormed()) {
    return `the localpart of ${quote(userId)} contains a NUL or an unpaired surrogate, which is not allowed in a user id`;
  }
  if (!isServerName(userId.slice(colon + 1))) return `${quote(userId)} has no valid server name after the ":"`;
  if (Buffer.byteLength(userId) > MAX_ID_BYTES) return `it is longer than ${MAX_ID_BYTES} bytes`;
  return undefined;
}

/**
 * A hostname, IPv4 or bracketed IPv6 address with an optional port.
 * @see https://spec.matrix.org/v1.16/appendices/#server-name
 */
export function isServerName(name: string): boolean {
  return /^(\[[0-9A-Fa-f:.]{2,45}\]|[0-9A-Za-z.-]{1,255})(:\d{1,5})?$/.test(name);
}

/**
 * Returns the user id of a new account. The localpart must follow the current grammar (`a-z 0-9 . _ = - / +`), and the
 * rules that homeservers add: it must not start with `_` or consist of digits only. Nothing is lower-cased here.
 * @see https://spec.matrix.org/v1.16/appendices/#user-identifiers
 */
export function newUserId(username: unknown, serverName: string): string {
  const fail = (rule: string): never => {
    const got = typeof username === 'string' ? quote(username) : typeof username;
    throw new MatrixClientManagerError('INVALID_USER_ID', `expected \`username\` ${rule}, got ${got}`);
  };
  if (typeof username !== 'string') return fail('to be a string');
  if (username === '') return fail('to have at least one character');
  if (username.startsWith('@') || username.includes(':')) {
    return fail('to be the localpart alone, without "@" and ":server"');
  }
  if (/[A-Z]/.test(username)) return fail('in lower case (normalizeUsername() or the option of that name makes it so)');
  if (!/^[a-z0-9._=\-/+]+$/.test(username)) return fail('of the characters a-z 0-9 . _ = - / + only');
  if (username.startsWith('_')) return fail('not to start with "_", which homeservers reserve');
  if (/^\d+$/.test(username)) return fail('not to be all digits, which homeservers reserve for guests');
  const userId = `@${username}:${serverName}`;
  if (Buffer.byteLength(userId) > MAX_ID_BYTES) return fail(`short enough for a user id of ${MAX_ID_BYTES} bytes`);
  return userId;
}

/**
 * Maps a name to a valid username as the specification recommends: letters are lower-cased, and every byte outside the
 * grammar becomes `=xx`. Names that differ in more than case map to different usernames. Throws `INVALID_USER_ID` for an
 * empty string or an unpaired surrogate. Does not check the length.
 * @see https://spec.matrix.org/v1.16/appendices/#mapping-from-other-character-sets
 */
export function normalizeUsername(name: string): string {
  if (typeof name !== 'string') {
    throw new MatrixClientManagerError('INVALID_USER_ID', `expected a name to be a string, got ${describe(name)}`);
  }
  if (name === '' || !name.isWellFormed()) {
    throw new MatrixClientManagerError('INVALID_USER_ID', `expected a name to be Unicode text, got ${quote(name)}`);
  }
  // Normalised again after lower-casing, because some letters have a composed form in lower case only.
  const bytes = Buffer.from(name.normalize('NFC').toLowerCase().normalize('NFC'));
  const username = Array.from(bytes, (byte) => {
    const char = String.fromCharCode(byte);
    return /[a-z0-9._\-/+]/.test(char) ? char : escaped(byte);
  }).join('');
  const reserved = username.startsWith('_') || /^\d+$/.test(username);
  return reserved ? escaped(username.charCodeAt(0)) + username.slice(1) : username;
}

function escaped(byte: number): string {
  return `=${byte.toString(16).padStart(2, '0')}`;
}

/** The server name of a user id. */
export function serverNameOf(userId: string): string {
  return userId.slice(userId.indexOf(':') + 1);
}

/**
 * Checks a room id. Since room version 12 it has no server part.
 * @see https://spec.matrix.org/v1.16/appendices/#room-ids
 */
export function assertRoomId(roomId: unknown): asserts roomId is string {
  if (typeof roomId === 'string' && isRoomId(roomId)) return;
  const hint =
    typeof roomId === 'string' && roomId.startsWith('#') ? ' (resolve a room alias to its room id first)' : '';
  throw invalidOptions(`expected \`roomId\` to be a room id like !abc:example.org, got ${describe(roomId)}${hint}`);
}

export function isRoomId(text: string): boolean {
  return isOpaqueId('!', text);
}

/** Checks a room alias: `#localpart:server`. @see https://spec.matrix.org/v1.16/appendices/#room-aliases */
export function assertRoomAlias(alias: unknown): asserts alias is string {
  if (typeof alias === 'string' && isRoomAlias(alias)) return;
  throw invalidOptions(`expected \`alias\` to be a room alias like #lobby:example.org, got ${describe(alias)}`);
}

export function isRoomAlias(text: string): boolean {
  const colon = text.indexOf(':');
  return isOpaqueId('#', text) && colon > 1 && isServerName(text.slice(colon + 1));
}

/** Checks an event id. @see https://spec.matrix.org/v1.16/appendices/#event-ids */
export function assertEventId(eventId: unknown): asserts eventId is string {
  if (typeof eventId === 'string' && isEventId(eventId)) return;
  throw invalidOptions(`expected \`eventId\` to be an event id like $abc, got ${describe(eventId)}`);
}

export function isEventId(text: string): boolean {
  return isOpaqueId('$', text);
}

function isOpaqueId(sigil: string, id: string): boolean {
  const isText = id.length > 1 && id.startsWith(sigil) && !/[\s\0]/.test(id) && id.isWellFormed();
  return isText && Buffer.byteLength(id) <= MAX_ID_BYTES;
}

/** A short description of a caller's value, safe to print. */
export function describe(value: unknown): string {
  return typeof value === 'string' ? quote(value) : value === null ? 'null' : typeof value;
}

function quote(text: string): string {
  return JSON.stringify(text.length > 80 ? `${text.slice(0, 80)}…` : text);
}
