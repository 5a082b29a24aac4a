import { setTimeout as sleep } from 'node:timers/promises';
import { bodyOf } from './worker-protocol.js';

/** Somebody with a session at the homeserver, who tries until it answers. */
export class PlainUser {
  readonly userId: string;
  readonly #homeserverUrl: string;
  readonly #accessToken: string;

  constructor(homeserverUrl: string, userId: string, accessToken: string) {
    this.#homeserverUrl = homeserverUrl;
    this.userId = userId;
    this.#accessToken = accessToken;
  }

  /** A request that is safe to repeat. */
  async request(method: string, path: string, body: unknown = {}): Promise<Record<string, unknown>> {
    for (;;) {
      try {
        const response = await fetch(this.#homeserverUrl + path, {
          method,
          headers: { authorization: `Bearer ${this.#accessToken}`, 'content-type': 'application/json' },
          ...(method !== 'GET' && { body: JSON.stringify(body) }),
        });
        const answer = (await response.json()) as Record<string, unknown>;
        if (response.ok) return answer;
        if (response.status < 500) throw new Refused(`${method} ${path}: ${response.status} ${JSON.stringify(answer)}`);
      } catch (error) {
        if (error instanceof Refused) throw error;
      }
      await sleep(20);
    }
  }
}

class Refused extends Error {}

/** Keeps sending numbered messages to a room, whatever happens to those who listen. */
export class RoomSender {
  readonly roomId: string;
  /** Numbers by event id, of what the homeserver has acknowledged; a change of the topic is half a one further. */
  readonly numbers = new Map<string, number>();
  readonly ids: string[] = [];
  readonly #user: PlainUser;
  readonly #pauseMs: () => number;
  #begun = 0;
  #burst = 0;
  #stopped = false;
  #running: Promise<void> | undefined;

  constructor(user: PlainUser, roomId: string, pauseMs: () => number) {
    this.#user = user;
    this.roomId = roomId;
    this.#pauseMs = pauseMs;
  }

  /** How many messages have been begun to be sent: the next one's number. */
  get begun(): number {
    return this.#begun;
  }

  start(): void {
    this.#running = this.#run();
  }

  /** The next `count` messages go without a pause. */
  burst(count: number): void {
    this.#burst += count;
  }

  /** Resolves when the homeserver has all that was begun, bursts included. */
  async stop(): Promise<void> {
    this.#stopped = true;
    await this.#running;
  }

  async #run(): Promise<void> {
    while (!this.#stopped || this.#burst > 0) {
      await this.#send(this.#begun++);
      if (this.#burst > 0) this.#burst--;
      else await sleep(this.#pauseMs());
    }
  }

  async #send(n: number): Promise<void> {
    const room = `/_matrix/client/v3/rooms/${encodeURIComponent(this.roomId)}`;
    const content = { msgtype: 'm.text', body: bodyOf(n) };
    const sent = await this.#user.request('PUT', `${room}/send/m.room.message/n${n}`, content);
    this.numbers.set(String(sent['event_id']), n);
    this.ids[n] = String(sent['event_id']);
    if (n % 31 !== 30) return;
    const changed = await this.#user.request('PUT', `${room}/state/m.room.topic/`, { topic: `after ${n}` });
    this.numbers.set(String(changed['event_id']), n + 0.5);
  }
}
