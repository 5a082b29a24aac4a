import { EventEmitter } from 'eventemitter3';
import { catchRejection } from '../core/contain.js';
import { MatrixClientManagerError } from '../core/errors.js';
import { describe } from '../core/ids.js';
import type { Logger } from '../core/logger.js';
import type { ManagerEvents } from './events.js';

const names: ReadonlySet<keyof ManagerEvents> = new Set([
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
] as const);

/** The events of a manager, and who listens to them. */
export class EventHub {
  readonly #emitter = new EventEmitter<ManagerEvents>();
  readonly #logger: Logger;

  constructor(logger: Logger) {
    this.#logger = logger;
  }

  /** Throws `INVALID_OPTIONS` for an event that there is not, and for a listener that is no function. */
  on<Name extends keyof ManagerEvents>(name: Name, listener: ManagerEvents[Name]): () => void {
    if (typeof listener !== 'function') {
      throw new MatrixClientManagerError('INVALID_OPTIONS', 'expected a listener to be a function');
    }
    if (!names.has(name)) {
      const message = `there is no event ${describe(name)}; the events are ${[...names].join(', ')}`;
      throw new MatrixClientManagerError('INVALID_OPTIONS', message);
    }
    this.#emitter.on(name, listener as never);
    return () => this.off(name, listener);
  }

  off<Name extends keyof ManagerEvents>(name: Name, listener: ManagerEvents[Name]): void {
    this.#emitter.off(name, listener as never);
  }

  /** Tells all listeners, whatever one of them does. */
  emit<Name extends keyof ManagerEvents>(name: Name, event: Parameters<ManagerEvents[Name]>[0]): void {
    for (const listener of this.#emitter.listeners(name)) {
      const failed = (err: unknown): void =>
        this.#logger.error({ event: name, err }, 'a listener of the manager failed');
      try {
        const returned: unknown = (listener as (event: unknown) => unknown)(event);
        if (returned !== undefined) catchRejection(returned, failed); // an asynchronous listener
      } catch (error) {
        failed(error);
      }
    }
  }

  close(): void {
    this.#emitter.removeAllListeners();
  }
}
