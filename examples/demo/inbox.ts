import type { ClientCallback, ClientEvent, ClientEventType } from 'matrix-client-manager';

const PATIENCE_MS = 15_000;

type EventOf<Type extends ClientEventType> = Extract<ClientEvent, { type: Type }>;

/** One user's callback: keeps what comes and tells who waits for it. */
export class Inbox {
  readonly #owner: string;
  readonly #events: ClientEvent[] = [];
  readonly #waiting = new Set<() => void>();

  constructor(owner: string) {
    this.#owner = owner;
  }

  readonly callback: ClientCallback = (event) => {
    this.#events.push(event);
    for (const look of this.#waiting) look();
  };

  /** Takes the oldest event of the kind that passes `test`, waiting until it is there. */
  take<Type extends ClientEventType>(type: Type, test: (event: EventOf<Type>) => boolean): Promise<EventOf<Type>> {
    return new Promise((resolve, reject) => {
      const look = (): void => {
        const index = this.#events.findIndex((event) => event.type === type && test(event as EventOf<Type>));
        if (index === -1) return;
        const [event] = this.#events.splice(index, 1);
        done();
        resolve(event as EventOf<Type>);
      };
      const timer = setTimeout(() => {
        done();
        reject(new Error(`${this.#owner}'s callback got no such ${type} event within ${PATIENCE_MS / 1000} seconds`));
      }, PATIENCE_MS);
      const done = (): void => {
        clearTimeout(timer);
        this.#waiting.delete(look);
      };
      this.#waiting.add(look);
      look();
    });
  }
}
