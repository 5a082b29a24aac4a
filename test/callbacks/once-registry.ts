import { CallbackRegistry } from '../../src/callbacks/callback-registry.js';
import { OnceLog } from '../../src/callbacks/once-log.js';
import type { ClientEvent, ManagerCallbackOptions } from '../../src/index.js';
import { memoryStorage } from '../../src/storage/memory-storage.js';
import type { Storage } from '../../src/storage/storage.js';
import { ManualClock, MemoryLogger } from '../../src/testing/index.js';
import { testContext } from '../support/context.js';
import { messageEvent } from './message-event.js';

export const [alice, bob, carol] = ['@alice:hs.test', '@bob:hs.test', '@carol:hs.test'];
export const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
export const once: ManagerCallbackOptions = { once: true };

/** A registry of callbacks, without clients. */
export function setUp(storage: Storage = memoryStorage()) {
  const clock = new ManualClock();
  const logger = new MemoryLogger();
  const context = testContext({ clock, logger });
  const onceLog = new OnceLog(context, storage);
  const deadLetters: string[] = [];
  const registry = new CallbackRegistry(context, {
    onceLog,
    attempts: 2,
    retryDelayMs: 1_000,
    timeoutMs: 300_000,
    onError: () => {},
    onDeadLetter: async (event) => void deadLetters.push(`${event.userId} ${idOf(event)}`),
  });
  const stops = new Map<string, AbortController>();
  const stopOf = (userId: string): AbortController => {
    const stop = stops.get(userId) ?? new AbortController();
    stops.set(userId, stop);
    return stop;
  };
  /** Delivers the copy of the user; resolves to whether it was handled. `done` lists it then. */
  const done: string[] = [];
  const deliver = async (userId: string, eventId: string, more: Parameters<typeof messageEvent>[0] = {}) => {
    const event = messageEvent({ userId, eventId, ...more });
    const record = async (): Promise<void> => void done.push(`${userId} ${eventId}`);
    return registry.dispatch(event, stopOf(userId).signal, record);
  };
  return { clock, logger, onceLog, registry, deadLetters, done, deliver, stopOf, storage };
}

function idOf(event: ClientEvent): string {
  return 'eventId' in event ? event.eventId : '';
}

/** A callback that keeps what it gets, and waits at events that are held. */
export function recorder() {
  const got: string[] = [];
  const gates = new Map<string, PromiseWithResolvers<void>>();
  const callback = async (event: ClientEvent): Promise<void> => {
    got.push(`${event.userId.split(':')[0]} ${idOf(event)}`);
    await gates.get(idOf(event))?.promise;
  };
  const hold = (eventId: string): PromiseWithResolvers<void> => {
    const gate = Promise.withResolvers<void>();
    gates.set(eventId, gate);
    return gate;
  };
  return { got, callback, hold };
}
