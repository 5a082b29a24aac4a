import { EventEmitter } from 'eventemitter3';
import { catchRejection } from '../core/contain.js';
import type { Logger } from '../core/logger.js';
import { checkListener } from '../core/validation.js';
import type { ManagerEvents } from './events.js';

const names: readonly (keyof ManagerEvents)[] = [
  'clientStarted',
  'clientStopped',
  'clientStateChanged',
  'callbackError',
  'deadLetter',
  'gap',
  'deviceReplaced',
  'credentialsChanged',
  'homeserverStateChanged',
  'sendFailed',
];

/** Registers the listeners of a manager's events, and calls them. */
export class EventHub {
  readonly #emitter = new EventEmitter<ManagerEvents>();
  readonly #logger: Logger;

  constructor(logger: Logger) {
    this.#logger = logger;
  }

  /** Throws `INVALID_OPTIONS` for an unknown event name, and for a listener that is not a function. */
  on<Name extends keyof ManagerEvents>(name: Name, listener: ManagerEvents[Name]): () => void {
    checkListener(names, name, listener);
    this.#emitter.on(name, listener as never);
    return () => this.off(name, listener);
  }

  off<Name extends keyof ManagerEvents>(name: Name, listener: ManagerEvents[Name]): void {
    this.#emitter.off(name, listener as never);
  }

  /** Calls all listeners. One that throws or rejects is logged, and does not prevent the calls of the others. */
  emit<Name extends keyof ManagerEvents>(name: Name, event: Parameters<ManagerEvents[Name]>[0]): void {
    for (const listener of this.#emitter.listeners(name)) {
      const logFailure = (err: unknown): void =>
        this.#logger.error({ event: name, err }, 'a listener of a manager event failed');
      try {
        const returned: unknown = (listener as (event: unknown) => unknown)(event);
        if (returned !== undefined) catchRejection(returned, logFailure); // an asynchronous listener
      } catch (error) {
        logFailure(error);
      }
    }
  }

  close(): void {
    this.#emitter.removeAllListeners();
  }
}
