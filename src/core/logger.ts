/**
 * A structured logger with pino's argument order, so that a pino instance can be passed directly.
 * The library never logs a token, a password or the content of a message.
 */
export interface Logger {
  debug(context: object, message: string): void;
  info(context: object, message: string): void;
  warn(context: object, message: string): void;
  error(context: object, message: string): void;
}

/** The default logger, which discards everything. */
export const silentLogger: Logger = { debug() {}, info() {}, warn() {}, error() {} };
