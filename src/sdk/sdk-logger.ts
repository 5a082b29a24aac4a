import { logger as sdkRootLogger } from 'matrix-js-sdk/lib/logger.js';
import type { Logger as SdkLogger } from 'matrix-js-sdk/lib/logger.js';
import type { Logger } from '../core/logger.js';
import { isError } from '../core/is-error.js';

/** matrix-js-sdk's logging for one user, sent to ours at level debug, since what matters is reported by the manager. */
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

/** The SDK's process-wide logger writes to the console at level debug; parts of it ignore the logger they are given. */
export function silenceSdkRootLogger(): void {
  const root = sdkRootLogger as SdkLogger & { setLevel?: (level: string, persist: boolean) => void };
  root.setLevel?.('silent', false);
}

/** Objects are not printed: they may hold anything a user wrote. */
function text(part: unknown): string {
  if (isError(part)) return `${part.name}: ${part.message}`;
  return typeof part === 'string' || typeof part === 'number' ? String(part) : `(${typeof part})`;
}
