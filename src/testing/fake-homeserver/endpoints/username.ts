import { MatrixError } from '../matrix-error.js';

const MAX_ID_BYTES = 255;

/** Throws Synapse's error if a new account cannot have that username. */
export function assertUsername(localpart: string, serverName: string): void {
  const problem = problemOf(localpart, serverName);
  if (problem) throw new MatrixError(400, 'M_INVALID_USERNAME', problem);
}

function problemOf(localpart: string, serverName: string): string | undefined {
  if (/[^a-z0-9=_\-./+]/.test(localpart)) return "User ID can only contain characters a-z, 0-9, or '=_-./+'";
  if (localpart === '') return 'User ID cannot be empty';
  if (localpart.startsWith('_')) return 'User ID may not begin with _';
  if (Buffer.byteLength(`@${localpart}:${serverName}`) > MAX_ID_BYTES) {
    return `User ID may not be longer than ${MAX_ID_BYTES} characters`;
  }
  if (/^\d+$/.test(localpart)) return 'Numeric user IDs are reserved for guest users.';
  return undefined;
}
