import type { CorruptionInfo, NormalizedSqliteOptions } from '../sqlite-storage-options.js';

/** Tells the logger and the application; what the application's callback throws goes no further. */
export function reportCorruption(
  { logger, onCorruption }: Pick<NormalizedSqliteOptions, 'logger' | 'onCorruption'>,
  info: CorruptionInfo,
): void {
  logger.error({ ...info }, 'the storage found damage');
  try {
    onCorruption(info);
  } catch (error) {
    logger.error({ path: info.path, error }, 'onCorruption threw');
  }
}
