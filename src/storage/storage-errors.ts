import { MatrixClientManagerError } from '../core/errors.js';

export function closedError(): MatrixClientManagerError {
  return new MatrixClientManagerError('STORAGE', 'the storage was closed before this call');
}
