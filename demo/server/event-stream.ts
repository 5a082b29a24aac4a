import type { ServerResponse } from 'node:http';

export interface StreamedEvent {
  /** What the page sends as `lastEventId` to continue after this event. */
  readonly id: string;
  readonly type: string;
  /** JSON. */
  readonly data: string;
}

/** The page takes a longer silence for a broken connection. */
const PING_INTERVAL_MS = 15_000;
/** A page that does not read is cut off: it continues with what is kept, or loads its rooms. */
const MAX_UNSENT_BYTES = 1024 * 1024;

/** A stream of server-sent events. @see https://html.spec.whatwg.org/multipage/server-sent-events.html */
export class EventStream {
  readonly #response: ServerResponse;
  readonly #ping: NodeJS.Timeout;

  /** @param onEnd - called once, however it ends */
  constructor(response: ServerResponse, onEnd: () => void) {
    this.#response = response;
    response.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-store' });
    response.on('error', () => {}); // 'close' follows
    response.once('close', () => {
      clearInterval(this.#ping);
      onEnd();
    });
    this.#ping = setInterval(() => this.#write('event: ping\ndata: {}\n\n'), PING_INTERVAL_MS);
  }

  send({ id, type, data }: StreamedEvent): void {
    this.#write(`id: ${id}\nevent: ${type}\ndata: ${data}\n\n`);
  }

  end(): void {
    this.#response.end();
    this.#response.destroy();
  }

  #write(text: string): void {
    if (this.#response.destroyed) return;
    this.#response.write(text);
    if (this.#response.writableLength > MAX_UNSENT_BYTES) this.#response.destroy();
  }
}
