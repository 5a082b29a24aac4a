import type { Connection } from '../users/connection.js';
import { checkConnection } from './pipe-to-sse.js';
import { sseHeaders } from './sse-frame.js';
import { readSseOptions } from './sse-options.js';
import type { SseOptions } from './sse-options.js';
import { SseStream } from './sse-stream.js';
import { openWebSink } from './web-sink.js';

/**
 * A `Response` with a user's events as server-sent events, for hono, Next.js and others that answer with one. Its stream is
 * like that of `pipeToSse()`. The connection is closed when the body is cancelled. Throws `INVALID_OPTIONS`; the connection
 * is closed then.
 *
 * @example
 * app.get('/events', async (c) => {
 *   const connection = await manager.connect({ userId });
 *   return sseResponse(connection, { lastEventId: c.req.header('last-event-id') });
 * });
 */
export function sseResponse(connection: Connection, options: SseOptions = {}): Response {
  checkConnection(connection);
  try {
    const settings = readSseOptions('sseResponse()', options);
    const sink = openWebSink(settings.maxBufferBytes / 2);
    void new SseStream(connection, sink, settings).run();
    return new Response(sink.body, { headers: { ...sseHeaders } });
  } catch (error) {
    void connection.close();
    throw error;
  }
}
