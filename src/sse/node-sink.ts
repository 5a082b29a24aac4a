import type { ServerResponse } from 'node:http';
import type { Http2ServerResponse } from 'node:http2';
import { isObject } from '../core/raw-event.js';
import { sseHeaders } from './sse-frame.js';
import type { SseSink } from './sse-sink.js';

type NodeResponse = ServerResponse | Http2ServerResponse;

/** What is used of a reply of fastify. */
export interface FastifyReplyLike {
  readonly raw: ServerResponse | Http2ServerResponse;
  hijack(): unknown;
  getHeaders(): object;
}

/** A response of `node:http` or `node:http2`, as express has it too, or a reply of fastify. */
export type SseTarget = ServerResponse | Http2ServerResponse | FastifyReplyLike;

/** Whether it can be written to as a response. */
export function isSseTarget(value: unknown): value is SseTarget {
  const response: unknown = isFastifyReply(value) ? value.raw : value;
  return (
    isObject(response) &&
    ['writeHead', 'write', 'end', 'on', 'destroy'].every(
      (method) => typeof Reflect.get(response, method) === 'function',
    )
  );
}

function isFastifyReply(value: unknown): value is FastifyReplyLike {
  return isObject(value) && typeof value.hijack === 'function' && isObject(value.raw);
}

/** Starts the response: status and headers, unless the application has sent them. Headers that are set stay. */
export function openNodeSink(target: SseTarget): SseSink {
  // What is used of the two kinds of responses is the same.
  const response = (isFastifyReply(target) ? hijacked(target) : target) as ServerResponse;
  const onDrain = new Set<() => void>();
  const flushed = (): void => {
    for (const listener of onDrain) listener();
  };
  response.on('error', () => {}); // a broken connection; 'close' follows
  if (!isGone(response) && !response.headersSent) {
    for (const [name, value] of Object.entries(sseHeaders)) response.setHeader(name, value);
    response.writeHead(200);
    if (typeof response.flushHeaders === 'function') response.flushHeaders(); // node:http2 has none
  }
  return {
    get pendingBytes() {
      return response.writableLength;
    },
    write: (text) => {
      if (!isGone(response)) response.write(text, flushed);
    },
    end: () => void response.end(),
    destroy: () => void response.destroy(),
    onDrain: (listener) => void onDrain.add(listener),
    onClose: (listener) => {
      response.on('close', listener);
      if (isGone(response)) listener(); // it was closed before
    },
  };
}

/** Takes the response from fastify, with the headers that its plugins have set. */
function hijacked(reply: FastifyReplyLike): NodeResponse {
  const headers = Object.entries(reply.getHeaders()) as [string, string | string[] | number | undefined][];
  reply.hijack();
  if (!reply.raw.headersSent) {
    for (const [name, value] of headers) if (value !== undefined) reply.raw.setHeader(name, value);
  }
  return reply.raw;
}

function isGone(response: NodeResponse): boolean {
  if (response.writableEnded || response.socket?.destroyed === true) return true;
  if (!('stream' in response)) return response.destroyed;
  return response.stream.destroyed || response.stream.closed; // a response of node:http2 has no `destroyed`
}
