import { randomUUID } from 'node:crypto';
import type { ServerResponse } from 'node:http';
import type { ClientEvent, ClientEventType, Connection, MatrixClientManager } from 'matrix-client-manager';
import { EventStream } from './event-stream.js';
import type { StreamedEvent } from './event-stream.js';
import { toMessageView } from './message-view.js';
import { Receipts } from './receipts.js';

/** Number of events that a page can have missed and still gets in order. A page that has missed more loads its rooms. */
const MAX_KEPT = 1_000;
/** How long the JSON of these events may be, in characters: a stream that resumes can hold all of it. */
const MAX_KEPT_LENGTH = 256 * 1024;
/** What a callback gets; `unread` only if it is named. */
const eventTypes: readonly ClientEventType[] = [
  'message',
  'reaction',
  'redaction',
  'membership',
  'state',
  'typing',
  'receipt',
  'invite',
  'unread',
];
/** How long the user's client is kept live after the last page has gone, in milliseconds. */
const LINGER_MS = 30_000;

/**
 * What happens to one user, for every page that shows this user. The first stream opens a connection of the manager,
 * which keeps the user's client live, and the connection is closed a while after the last one. A stream that was cut
 * continues after the last event that it has received.
 */
export class UserFeed {
  readonly receipts = new Receipts();
  readonly #manager: MatrixClientManager;
  readonly #userId: string;
  readonly #streams = new Set<EventStream>();
  #connection: Promise<Connection> | undefined;
  #linger: NodeJS.Timeout | undefined;
  /** Changes when events may be missing before those that are kept. */
  #epoch = randomUUID();
  #lastNumber = 0;
  #kept: StreamedEvent[] = [];
  #keptLength = 0;
  #isClosed = false;

  constructor(manager: MatrixClientManager, userId: string) {
    this.#manager = manager;
    this.#userId = userId;
  }

  /**
   * Streams what happens from now on, or after the event `lastEventId` if that is known. The first event, `hello`, says
   * which. Rejects if the user's client cannot be started.
   */
  async stream(response: ServerResponse, lastEventId: string | undefined): Promise<void> {
    clearTimeout(this.#linger);
    const { state } = await this.#open();
    if (response.destroyed || this.#isClosed) return this.#lingerIfUnused();
    const missed = this.#missedSince(lastEventId);
    const stream = new EventStream(response, () => {
      this.#streams.delete(stream);
      this.#lingerIfUnused();
    });
    this.#streams.add(stream);
    // A stream that is cut before the missed events have arrived continues where this one did.
    const id = missed && lastEventId !== undefined ? lastEventId : `${this.#epoch}.${this.#lastNumber}`;
    stream.send({
      id,
      type: 'hello',
      data: JSON.stringify({ userId: this.#userId, isResumed: missed !== undefined, connection: state }),
    });
    for (const event of missed ?? []) stream.send(event);
  }

  /** Ends the streams, and not the connection. */
  cut(): void {
    for (const stream of this.#streams) stream.end();
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    this.cut();
    clearTimeout(this.#linger);
    const connection = await this.#connection?.catch(() => undefined);
    await connection?.close();
  }

  #open(): Promise<Connection> {
    this.#connection ??= this.#connect().catch((error: unknown) => {
      this.#connection = undefined; // the next stream tries again
      throw error;
    });
    return this.#connection;
  }

  async #connect(): Promise<Connection> {
    const callback = (event: ClientEvent): void => this.#receive(event);
    const connection = await this.#manager.connect({ userId: this.#userId, callback, types: eventTypes });
    connection.on('stateChanged', ({ to }) => this.#publish('connection', { state: to }));
    return connection;
  }

  #lingerIfUnused(): void {
    if (this.#streams.size > 0 || this.#isClosed) return;
    clearTimeout(this.#linger);
    this.#linger = setTimeout(() => void this.#disconnect(), LINGER_MS);
    this.#linger.unref();
  }

  async #disconnect(): Promise<void> {
    const connection = this.#connection;
    this.#connection = undefined;
    this.#epoch = randomUUID(); // without a connection, events are missed
    this.#kept = [];
    this.#keptLength = 0;
    await connection?.then((open) => open.close()).catch(() => {});
  }

  /** The kept events after this one; undefined if some may be missing. */
  #missedSince(lastEventId: string | undefined): StreamedEvent[] | undefined {
    const [, epoch, number] = /^([\da-f-]+)\.(\d{1,15})$/.exec(lastEventId ?? '') ?? [];
    if (epoch !== this.#epoch) return undefined;
    const count = this.#lastNumber - Number(number);
    if (count < 0 || count > this.#kept.length) return undefined;
    return count === 0 ? [] : this.#kept.slice(-count);
  }

  #publish(type: string, body: unknown): void {
    this.#lastNumber += 1;
    const event = { id: `${this.#epoch}.${this.#lastNumber}`, type, data: JSON.stringify(body) };
    this.#kept.push(event);
    this.#keptLength += event.data.length;
    while (this.#kept.length > MAX_KEPT || this.#keptLength > MAX_KEPT_LENGTH) {
      this.#keptLength -= this.#kept.shift()?.data.length ?? 0;
    }
    for (const stream of this.#streams) stream.send(event);
  }

  #receive(event: ClientEvent): void {
    if (event.type === 'presence') return;
    const { roomId } = event;
    switch (event.type) {
      case 'message': {
        const { eventId, edits, sender, text = '' } = event;
        if (edits !== undefined) {
          this.#publish('edit', { roomId, eventId, edits, sender, text });
        } else {
          this.#publish('message', { roomId, message: toMessageView(event) });
        }
        return;
      }
      case 'reaction': {
        const { eventId, sender, relatesTo, key, redacted } = event;
        if (!redacted && relatesTo !== undefined && key !== undefined) {
          this.#publish('reaction', { roomId, eventId, sender, relatesTo, key });
        }
        return;
      }
      case 'redaction':
        if (event.redacts !== undefined) this.#publish('redaction', { roomId, redacts: event.redacts });
        return;
      case 'typing':
        this.#publish('typing', { roomId, userIds: event.userIds });
        return;
      case 'receipt': {
        const { sender, eventId } = event;
        this.receipts.set(roomId, sender, eventId);
        this.#publish('receipt', { roomId, sender, eventId });
        return;
      }
      case 'unread':
        this.#publish('unread', { roomId, unread: event.unread });
        return;
      case 'invite':
      case 'membership':
        this.#publish('rooms', { roomId });
        return;
      case 'state':
        if (event.eventType === 'm.room.name') this.#publish('rooms', { roomId });
    }
  }
}
