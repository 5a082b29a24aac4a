import type { EventEmitter } from 'node:events';

type Listener = (this: EventEmitter, ...args: unknown[]) => void;

/**
 * Replaces the SDK's `ReEmitter`. It uses one listener per event name, not one per source and name: a client re-emits
 * the events of every member of every room.
 */
export class SharedReEmitter {
  readonly #target: EventEmitter;
  readonly #isSuppressed: (eventName: string) => boolean;
  readonly #listeners = new Map<string, Listener>();

  /** @param isSuppressed - called at registration: whether events of this name are not re-emitted from that source */
  constructor(target: EventEmitter, isSuppressed: (eventName: string) => boolean) {
    this.#target = target;
    this.#isSuppressed = isSuppressed;
  }

  reEmit(source: EventEmitter, eventNames: readonly string[]): void {
    for (const name of eventNames) {
      if (this.#isSuppressed(name)) continue;
      const listener = this.#listener(name);
      if (!source.listeners(name).includes(listener)) source.on(name, listener);
    }
  }

  stopReEmitting(source: EventEmitter, eventNames: readonly string[]): void {
    for (const name of eventNames) source.off(name, this.#listener(name));
  }

  #listener(name: string): Listener {
    const known = this.#listeners.get(name);
    if (known) return known;
    const target = this.#target;
    const listener: Listener = function (this: EventEmitter, ...args) {
      if (name === 'error' && target.listenerCount(name) === 0) return; // emit() would throw it
      target.emit(name, ...args, this);
    };
    this.#listeners.set(name, listener);
    return listener;
  }
}
