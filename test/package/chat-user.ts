import { once } from 'node:events';
import { io } from 'socket.io-client';
import type { Socket } from 'socket.io-client';

import type { ClientEvent, RoomMessage, RoomSummary } from '../../src/index.js';
import { tokenOf } from './chat-service.js';
import type { ChatService } from './chat-service.js';

/** How long the service may take for an answer, in milliseconds. */
const ANSWER_TIMEOUT_MS = 20_000;

interface JoinAnswer {
  readonly messages: readonly RoomMessage[];
  readonly isContinuation: boolean;
}

type Message = Pick<RoomMessage, 'eventId' | 'roomId' | 'text'>;

/** A user of the chat service with a browser: requests, and a socket. */
export class ChatUser {
  /** What the socket has received since it was connected. */
  events: ClientEvent[] = [];
  /** What the user saw before that, and what `join` has brought. */
  #messages: Message[] = [];
  readonly #service: ChatService;
  readonly #token: string;
  #socket: Socket | undefined;

  constructor(service: ChatService, tenant: string, username: string) {
    this.#service = service;
    this.#token = tokenOf(tenant, username);
  }

  async connect(): Promise<void> {
    const socket = io(this.#service.url, { auth: { token: this.#token }, reconnection: false, forceNew: true });
    this.#socket = socket;
    socket.on('event', (event: ClientEvent) => this.events.push(event));
    await Promise.race([
      once(socket as never, 'connect'),
      once(socket as never, 'connect_error').then(([error]: Error[]) => Promise.reject(error as Error)),
    ]);
  }

  disconnect(): void {
    this.#messages = this.#allMessages();
    this.events = [];
    this.#socket?.disconnect();
    this.#socket = undefined;
  }

  /** What the service acknowledges a message of the socket with. */
  emit(name: string, data: object): Promise<unknown> {
    if (!this.#socket) throw new Error('expected a connected socket');
    return this.#socket.timeout(ANSWER_TIMEOUT_MS).emitWithAck(name, data);
  }

  async say(roomId: string, text: string, id?: string): Promise<string> {
    return ((await this.emit('message', { roomId, text, id })) as { eventId: string }).eventId;
  }

  /** Looks at a room, as the README of the example tells a browser to do it. */
  async join(roomId: string, lastEventId?: string): Promise<void> {
    const answer = (await this.emit('join', { roomId, lastEventId })) as JoinAnswer;
    if (!answer.isContinuation) this.#messages = this.#messages.filter((message) => message.roomId !== roomId);
    this.#messages.push(...answer.messages.filter(({ type }) => type === 'message'));
  }

  /** The texts of a room's messages as the browser shows them. */
  shown(roomId: string): string[] {
    return this.#allMessages().flatMap((message) => (message.roomId === roomId ? [message.text ?? ''] : []));
  }

  /** Each once: what `join` answers may have come live, too, and the other way round. */
  #allMessages(): Message[] {
    const live = this.events.filter((event) => event.type === 'message');
    return [...new Map([...this.#messages, ...live].map((message) => [message.eventId, message])).values()];
  }

  async request(method: string, path: string, body?: object): Promise<{ status: number; body: unknown }> {
    const response = await fetch(new URL(path, this.#service.url), {
      method,
      headers: { authorization: `Bearer ${this.#token}`, 'content-type': 'application/json' },
      ...(body && { body: JSON.stringify(body) }),
      signal: AbortSignal.timeout(ANSWER_TIMEOUT_MS),
    });
    const text = await response.text();
    return { status: response.status, body: text === '' ? undefined : JSON.parse(text) };
  }

  async room(roomId: string): Promise<RoomSummary | undefined> {
    const { rooms } = (await this.request('GET', '/rooms')).body as { rooms: RoomSummary[] };
    return rooms.find((room) => room.roomId === roomId);
  }

  async notifications(roomId: string): Promise<string[]> {
    const list = (await this.request('GET', '/notifications')).body as { roomId: string; text: string }[];
    return list.filter((entry) => entry.roomId === roomId).map(({ text }) => text);
  }
}
