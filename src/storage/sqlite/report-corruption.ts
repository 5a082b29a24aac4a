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
