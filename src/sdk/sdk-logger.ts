import { logger as sdkRootLogger } from 'matrix-js-sdk/lib/logger.js';
import type { Logger as SdkLogger } from 'matrix-js-sdk/lib/logger.js';
import type { Logger } from '../core/logger.js';
import { isError } from '../core/is-error.js';

/** A matrix-js-sdk logger for one user. It logs everything at level debug, because the manager reports failures. */
export function sdkLogger(logger: Logger, userId: string, module = 'matrix-js-sdk'): SdkLogger {
  const log = (...parts: unknown[]): void => {
    logger.debug({ userId, module }, parts.map(text).join(' '));
  };
  return {
    trace: log,
    debug: log,
    info: log,
    warn: log,
    error: log,
    getChild: (name) => sdkLogger(logger, userId, `${module}/${name}`),
  };
}

/** Silences the SDK's process-wide logger: parts of the SDK write to it even if they are given another logger. */
export function silenceSdkRootLogger(): void {
  const root = sdkRootLogger as SdkLogger & { setLevel?: (level: string, persist: boolean) => void };
  root.setLevel?.('silent', false);
}

/** Objects are not logged, because they may contain message content. */
function text(part: unknown): string {
  if (isError(part)) return `${part.name}: ${part.message}`;
  return typeof part === 'string' || typeof part === 'number' ? String(part) : `(${typeof part})`;
}
