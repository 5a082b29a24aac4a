import { catchRejection } from '../../core/contain.js';
import type { CorruptionInfo, NormalizedSqliteOptions } from '../sqlite-storage-options.js';

/** Tells the logger and the application; what the application's callback throws goes no further. */
export function reportCorruption(
  { logger, onCorruption }: Pick<NormalizedSqliteOptions, 'logger' | 'onCorruption'>,
  info: CorruptionInfo,
): void {
  logger.error({ ...info }, 'the storage found damage');
  const failed = (err: unknown): void => logger.error({ path: info.path, err }, 'onCorruption threw');
  try {
    const returned: unknown = onCorruption(info);
    if (returned !== undefined) catchRejection(returned, failed);
  } catch (error) {
    failed(error);
  }
}
