/** A part of a stream of server-sent events. */
export interface SseFrame {
  /** The name of the event. */
  readonly event?: string;
  /** The new value of the browser's `Last-Event-ID`. Printable ASCII. */
  readonly id?: string | undefined;
  /** Sent as JSON, which has no line breaks. Without it the browser raises no event. */
  readonly data?: unknown;
}

/**
 * @see https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream
 */
export function formatFrame({ event, id, data }: SseFrame): string {
  const lines = [
    ...(event === undefined ? [] : [`event: ${event}`]),
    ...(id === undefined ? [] : [`id: ${id}`]),
    ...(data === undefined ? [] : [`data: ${JSON.stringify(data)}`]),
  ];
  return `${lines.join('\n')}\n\n`;
}

/** A comment, which the browser ignores. */
export const HEARTBEAT = ':\n\n';

export const sseHeaders: Readonly<Record<string, string>> = {
  'content-type': 'text/event-stream; charset=utf-8',
  'cache-control': 'no-cache, no-transform', // `no-transform`: a compressing middleware would hold events back
  'x-accel-buffering': 'no', // nginx would hold events back
};
