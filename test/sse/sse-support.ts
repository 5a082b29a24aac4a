import type { Connection } from '../../src/index.js';
import { readSseOptions } from '../../src/sse/sse-options.js';
import type { SseOptions } from '../../src/sse/sse-options.js';
import type { SseSink } from '../../src/sse/sse-sink.js';
import { SseStream } from '../../src/sse/sse-stream.js';
import type { SseEnd } from '../../src/sse/sse-stream.js';

/** An event as a browser reads it. */
export interface ReadEvent {
  readonly event: string;
  readonly id: string | undefined;
  readonly data: Record<string, unknown> & { readonly content?: { readonly body?: unknown } };
}

/** Reads a stream as the specification of `EventSource` says. Comments and ids without an event are left out. */
export function readEvents(text: string): ReadEvent[] {
  return text.split('\n\n').flatMap((block) => {
    const fields = new Map(
      block.split('\n').map((line) => [line.split(': ', 1)[0], line.slice(line.indexOf(': ') + 2)]),
    );
    const [event, data] = [fields.get('event'), fields.get('data')];
    if (event === undefined || data === undefined) return [];
    return [{ event, id: fields.get('id'), data: JSON.parse(data) as ReadEvent['data'] }];
  });
}

/** A browser in memory. It reads at once, unless it is told to stall. */
export class MemoryBrowser implements SseSink {
  text = '';
  pendingBytes = 0;
  isStalled = false;
  /** How the server has ended the stream. */
  ended: 'ended' | 'destroyed' | undefined;
  readonly #onDrain: (() => void)[] = [];
  readonly #onClose: (() => void)[] = [];

  write(text: string): void {
    this.text += text;
    if (this.isStalled) this.pendingBytes += Buffer.byteLength(text);
  }

  end(): void {
    this.ended = 'ended';
    if (!this.isStalled) this.disconnect();
  }

  destroy(): void {
    this.ended = 'destroyed';
    this.disconnect();
  }

  onDrain(listener: () => void): void {
    this.#onDrain.push(listener);
  }

  onClose(listener: () => void): void {
    this.#onClose.push(listener);
  }

  disconnect(): void {
    for (const listener of this.#onClose) listener();
  }

  readOn(): void {
    this.isStalled = false;
    this.pendingBytes = 0;
    for (const listener of this.#onDrain) listener();
  }

  get events(): ReadEvent[] {
    return readEvents(this.text);
  }

  /** The text of each message, and the names of other events. */
  get log(): unknown[] {
    return this.events.map(({ event, data }) => (event === 'message' ? data.content?.body : event));
  }

  /** The browser's last event id. */
  get lastId(): string | undefined {
    return [...this.text.matchAll(/^id: (.*)$/gm)].at(-1)?.[1];
  }

  stream(connection: Connection, options: SseOptions = {}): Promise<SseEnd> {
    return new SseStream(connection, this, readSseOptions('test', options)).run();
  }
}

/** The connection with some of its functions replaced. */
export function wrapped(connection: Connection, replaced: Partial<Connection>): Connection {
  return {
    userId: connection.userId,
    state: connection.state,
    error: connection.error,
    on: (...args) => connection.on(...args),
    addCallback: (...args) => connection.addCallback(...args),
    getJoinedRooms: (...args) => connection.getJoinedRooms(...args),
    getRoomMessages: (...args) => connection.getRoomMessages(...args),
    close: () => connection.close(),
    [Symbol.asyncDispose]: () => connection.close(),
    ...replaced,
  };
}
