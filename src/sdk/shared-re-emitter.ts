import type { EventEmitter } from 'node:events';

type Listener = (this: EventEmitter, ...args: unknown[]) => void;

/**
 * What the SDK's `ReEmitter` does, with one listener per event name instead of one per source and name: a client
 * re-emits the events of every member of every room.
 */
export class SharedReEmitter {
  readonly #target: EventEmitter;
  readonly #isOff: (eventName: string) => boolean;
  readonly #listeners = new Map<string, Listener>();

  /** @param isOff - whether events of this name are not re-emitted from sources that are registered now */
  constructor(target: EventEmitter, isOff: (eventName: string) => boolean) {
    this.#target = target;
    this.#isOff = isOff;
  }

  reEmit(source: EventEmitter, eventNames: readonly string[]): void {
    for (const name of eventNames) {
      if (this.#isOff(name)) continue;
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
      if (name === 'error' && target.listenerCount(name) === 0) return; // it would be thrown
      target.emit(name, ...args, this);
    };
    this.#listeners.set(name, listener);
    return listener;
  }
}
