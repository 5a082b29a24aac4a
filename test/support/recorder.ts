import type { ClientCallback, ClientEvent } from '../../src/index.js';

/** A callback that keeps what it gets, and lets a test wait for what is to come. */
export class Recorder {
  readonly events: ClientEvent[] = [];
  readonly #waiting = new Set<() => void>();

  readonly callback: ClientCallback = (event) => {
    this.events.push(event);
    for (const check of this.#waiting) check();
  };

  /** Resolves when `condition` holds, looked at with every event. The test's own time limit is the bound. */
  until(condition: (events: readonly ClientEvent[]) => boolean): Promise<void> {
    return new Promise((resolve) => {
      const check = (): void => {
        if (!condition(this.events)) return;
        this.#waiting.delete(check);
        resolve();
      };
      this.#waiting.add(check);
      check();
    });
  }

  /** Resolves with the first event that `matches`, past or to come. */
  async first(matches: (event: ClientEvent) => boolean): Promise<ClientEvent> {
    await this.until((events) => events.some(matches));
    return this.events.find(matches) as ClientEvent;
  }

  /** Resolves when a message with this text has come. */
  async message(body: string): Promise<ClientEvent> {
    return this.first((event) => event.type === 'message' && event.content.body === body);
  }

  /** The texts of the messages so far. */
  bodies(roomId?: string): string[] {
    return this.events
      .filter((event) => event.type === 'message' && (roomId === undefined || event.roomId === roomId))
      .map((event) => String('content' in event ? event.content.body : ''));
  }
}
