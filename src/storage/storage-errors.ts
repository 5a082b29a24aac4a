import { MatrixClientManagerError } from '../core/errors.js';

export function closedError(): MatrixClientManagerError {
  return new MatrixClientManagerError('STORAGE', 'the storage is closed: it was shut down before this call');
}
