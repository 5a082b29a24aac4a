// A homeserver in memory
export { FakeHomeserver } from './fake-homeserver/fake-homeserver.js';
export type { FakeHomeserverOptions } from './fake-homeserver/fake-homeserver.js';

// The injectables
export { ManualClock } from './manual-clock.js';
export { MemoryLogger } from './memory-logger.js';
export type { LogEntry } from './memory-logger.js';
