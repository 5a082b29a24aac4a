/**
 * Streams a user's events to a browser as server-sent events.
 *
 * @module matrix-client-manager/sse
 */

export { pipeToSse } from './pipe-to-sse.js';
export { sseResponse } from './sse-response.js';
export type { FastifyReplyLike, SseTarget } from './node-sink.js';
export type { SseEnd, SseEndReason, SseReset } from './sse-stream.js';
export type { SseOptions } from './sse-options.js';
