import { invalidOptions } from '../core/errors.js';
import { checkArgument, withMethods } from '../core/validation.js';
import type { Connection } from '../users/connection.js';
import { isSseTarget, openNodeSink } from './node-sink.js';
import type { SseTarget } from './node-sink.js';
import { readSseOptions } from './sse-options.js';
import type { SseOptions } from './sse-options.js';
import { SseStream } from './sse-stream.js';
import type { SseEnd } from './sse-stream.js';

/**
 * Sends a user's events to a browser as server-sent events, until the browser disconnects, is too slow, or the connection
 * ends. The response is one of `node:http`, `node:http2` or express, or a reply of fastify. The stream owns the connection:
 * it is closed at the end. Rejects only with `INVALID_OPTIONS`, before the response is started.
 *
 * @example
 * const connection = await manager.connect({ userId });
 * await pipeToSse(connection, response, { lastEventId: request.headers['last-event-id'] });
 */
export async function pipeToSse(
  connection: Connection,
  response: SseTarget,
  options: SseOptions = {},
): Promise<SseEnd> {
  checkConnection(connection);
  try {
    const settings = readSseOptions('pipeToSse()', options);
    if (!isSseTarget(response))
      throw invalidOptions('expected `response` to be a response of node:http or a reply of fastify');
    return await new SseStream(connection, openNodeSink(response), settings).run();
  } catch (error) {
    await connection.close();
    throw error;
  }
}

/** Throws `INVALID_OPTIONS`. */
export function checkConnection(connection: unknown): void {
  checkArgument('connection', withMethods<Connection>('addCallback', 'getRoomMessages', 'on', 'close'), connection);
}
