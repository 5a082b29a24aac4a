import { Catch, HttpException, Logger } from '@nestjs/common';
import type { ArgumentsHost } from '@nestjs/common';
import { BaseExceptionFilter } from '@nestjs/core';
import { MatrixClientManagerError } from '../core/errors.js';
import { httpStatus } from '../core/http-status.js';

/** The body of the response. */
interface ErrorBody {
  readonly statusCode: number;
  readonly error: string;
  readonly message: string;
}

/**
 * Answers requests that failed with a `MatrixClientManagerError`: the status is that of `httpStatus()`, the body is
 * `{ statusCode, error, message }` with the error's code. Errors from 500 on are logged, and their message is not sent. A
 * waiting time becomes the header `Retry-After`. A gateway's client gets the body as the acknowledgement if it asked for
 * one, and else as the event `exception`, with `status: 'error'`. Nest does not apply filters of `APP_FILTER` to gateways:
 * use the decorator `@UseFilters(MatrixExceptionFilter)` there. For other transports the error is thrown again, so a
 * microservice needs a filter of its own; the guide has one.
 *
 * @example
 * providers: [{ provide: APP_FILTER, useClass: MatrixExceptionFilter }]
 */
export class MatrixExceptionFilter extends BaseExceptionFilter<MatrixClientManagerError> {
  readonly #logger = new Logger('MatrixExceptionFilter');

  override catch(error: MatrixClientManagerError, host: ArgumentsHost): void {
    const statusCode = httpStatus(error);
    const isOwnFault = statusCode >= 500;
    if (isOwnFault) this.#logger.error(`${error.code}: ${error.message}`, error.stack);
    const message = isOwnFault ? 'the request could not be completed' : error.message;
    const body: ErrorBody = { statusCode, error: error.code, message };
    if (host.getType() === 'ws') return tellGatewayClient(host, { status: 'error', ...body });
    if (host.getType() !== 'http') throw error;
    const adapter = this.applicationRef ?? this.httpAdapterHost?.httpAdapter;
    const response: unknown = host.switchToHttp().getResponse();
    if (error.retryAfterMs !== undefined && adapter && !adapter.isHeadersSent(response)) {
      adapter.setHeader(response, 'Retry-After', String(Math.ceil(error.retryAfterMs / 1_000)));
    }
    // oxlint-disable-next-line promise/no-promise-in-callback, promise/valid-params -- not that of a promise
    super.catch(new HttpException(body, statusCode) as never, host);
  }
}

// Decorators by hand, because the library is compiled without support for them.
Catch(MatrixClientManagerError)(MatrixExceptionFilter);

type Acknowledge = (answer: object) => void;

/** A client of socket.io, or of the package `ws`, whose `emit` would reach only listeners in this process. */
type GatewayClient =
  | { readonly readyState: number; send(text: string): void }
  | { readonly readyState?: undefined; emit(event: string, data: object): void };

/** As Nest does, but a client that waits for an acknowledgement gets the error as one. Otherwise it would wait for ever. */
function tellGatewayClient(host: ArgumentsHost, failure: object): void {
  const acknowledge = host.getArgByIndex<Acknowledge | string | undefined>(2);
  if (typeof acknowledge === 'function') return acknowledge(failure);
  const ws = host.switchToWs();
  const data = { ...failure, cause: { pattern: ws.getPattern(), data: ws.getData<unknown>() } };
  const client = ws.getClient<GatewayClient>();
  if (client.readyState === undefined) client.emit('exception', data);
  else client.send(JSON.stringify({ event: 'exception', data }));
}
