import { Logger as NestLogger } from '@nestjs/common';
import type { LoggerService } from '@nestjs/common';
import { isManagerError } from '../core/errors.js';
import { isError } from '../core/is-error.js';
import type { Logger } from '../core/logger.js';

/**
 * Makes a logger of Nest usable as the option `logger` of a manager. The text is the message and its context as JSON.
 * @param logger - by default Nest's, with the context `MatrixClientManager`
 */
export function nestLogger(logger: LoggerService = new NestLogger('MatrixClientManager')): Logger {
  return {
    debug: (context, message) => logger.debug?.(textOf(context, message)),
    info: (context, message) => logger.log(textOf(context, message)),
    warn: (context, message) => logger.warn(textOf(context, message)),
    error: (context, message) => logger.error(textOf(context, message), stackOf(context)),
  };
}

function textOf(context: object, message: string): string {
  const json = jsonOf(context);
  return json === '{}' ? message : `${message} ${json}`;
}

/** What an application has thrown may be anything: if it is no JSON, it is named only. */
function jsonOf(context: object): string {
  try {
    return JSON.stringify(context, readable);
  } catch {
    return JSON.stringify(context, (key, value: unknown) =>
      key !== '' && (typeof value === 'object' || typeof value === 'bigint') ? `[${typeof value}]` : value,
    );
  }
}

/** A replacer of `JSON.stringify()`. `value` is what `toJSON()` of an error has returned, which may name secrets. */
function readable(this: object, key: string, value: unknown): unknown {
  const original: unknown = Reflect.get(this, key);
  if (isError(original)) return describeError(original);
  return typeof value === 'bigint' ? String(value) : value;
}

/** Without its `cause`, which may be an error of the application with a secret. */
function describeError(error: Error): string {
  return `${isManagerError(error) ? error.code : error.name}: ${error.message}`;
}

function stackOf(context: object): string | undefined {
  const err: unknown = 'err' in context ? context.err : undefined;
  return isError(err) ? err.stack : undefined;
}
