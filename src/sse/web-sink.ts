import type { SseSink } from './sse-sink.js';

/** A sink whose bytes are the body of a `Response`. */
export interface WebSink extends SseSink {
  readonly body: ReadableStream<Uint8Array>;
}

/**
 * Makes a sink that is closed when its reader cancels the body.
 * @param lowBytes - `onDrain` reports that less than this is pending
 */
export function openWebSink(lowBytes: number): WebSink {
  const encoder = new TextEncoder();
  const onDrain = new Set<() => void>();
  const onClose = new Set<() => void>();
  let isOpen = true;
  let controller: ReadableStreamDefaultController<Uint8Array>;
  const close = (how: () => void): void => {
    if (!isOpen) return;
    isOpen = false;
    how();
    for (const listener of onClose) listener();
  };
  const body = new ReadableStream<Uint8Array>(
    {
      start: (given) => void (controller = given),
      pull: () => {
        for (const listener of onDrain) listener();
      },
      cancel: () => close(() => {}),
    },
    new ByteLengthQueuingStrategy({ highWaterMark: lowBytes }),
  );
  return {
    body,
    get pendingBytes() {
      return isOpen ? lowBytes - (controller.desiredSize ?? lowBytes) : 0;
    },
    write: (text) => {
      if (isOpen) controller.enqueue(encoder.encode(text));
    },
    end: () => close(() => controller.close()),
    destroy: () => close(() => controller.error(new Error('the stream of events was ended'))),
    onDrain: (listener) => void onDrain.add(listener),
    onClose: (listener) => {
      onClose.add(listener);
      if (!isOpen) listener();
    },
  };
}
