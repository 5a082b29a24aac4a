/**
 * Structured logging in pino's argument order, so that a pino instance fits as it is.
 * No token, password or message content is ever passed to it.
 */
export interface Logger {
  debug(context: object, message: string): void;
  info(context: object, message: string): void;
  warn(context: object, message: string): void;
  error(context: object, message: string): void;
}

/** The default: says nothing. */
export const silentLogger: Logger = { debug() {}, info() {}, warn() {}, error() {} };
