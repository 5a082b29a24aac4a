/**
 * A homeserver in memory, a clock that tests advance, and contract suites for storages, key stores and homeservers.
 *
 * @module matrix-client-manager/testing
 */

// A homeserver in memory
export { FakeHomeserver } from './fake-homeserver/fake-homeserver.js';
export type { FakeHomeserverOptions } from './fake-homeserver/fake-homeserver.js';
export type { FakeUser, NewRoom, NewUser } from './fake-homeserver/world-driver.js';
export type { RoomEvent } from './fake-homeserver/rooms/room-event.js';
export type { LoginLimit } from './fake-homeserver/endpoints/login.js';
export type { UnhandledRequest } from './fake-homeserver/server/dispatcher.js';
export type { LoggedRequest } from './fake-homeserver/server/request-log.js';
export type {
  Disposer,
  EncryptedReplay,
  EncryptionFaultMatch,
  Faults,
  SenderSwap,
} from './fake-homeserver/server/faults.js';
export type { InjectedDevice, InjectedMessages } from './fake-homeserver/server/injected-devices.js';
export type { ChangeEvent, WireEvent } from './fake-homeserver/server/change-events.js';
export type { FaultMatch } from './fake-homeserver/server/fault-match.js';

// Clock and logger
export { ManualClock } from './manual-clock.js';
export { MemoryLogger } from './memory-logger.js';
export type { LogEntry } from './memory-logger.js';

// A user's events and client in memory
export { MemoryEventLog } from './memory-event-source.js';
export type { MemoryEventSource } from './memory-event-source.js';
export { MemoryUserEngine } from './memory-user-engine.js';

// Claims of users in memory
export { MemoryClaims } from './memory-claims.js';
export type { Claim } from '../core/ports/claim.js';

// Encryption keys in memory
export { MemoryKeys } from './memory-keys.js';
export type { DeviceHandle, KeyChange, KeyStore } from '../core/ports/key-store.js';

// Contract suites, for other storages, key stores, homeservers and engines
export { storageContract } from './contracts/storage-contract.js';
export type { ContractApi, OpenedStorage } from './contracts/storage-contract.js';
export { keyStoreContract } from './contracts/key-store-contract.js';
export type { OpenedKeyStore } from './contracts/key-store-contract.js';
export { homeserverContract } from './contracts/homeserver-contract.js';
export type { TestApi } from './contracts/homeserver/test-api.js';
export type { HomeserverTarget } from './contracts/homeserver/target.js';
export { claimContract } from './contracts/claim-contract.js';
export type { ClaimsUnderTest } from './contracts/claim-contract.js';
export { eventSourceContract } from './contracts/event-source-contract.js';
export type { EventSourceWorld, OpenedEventSource } from './contracts/event-source-contract.js';
export type { EventBatch, EventSource, InviteBatch, RoomBatch } from '../core/ports/event-source.js';
export { userEngineContract } from './contracts/user-engine-contract.js';
export type { UserEngineUnderTest } from './contracts/user-engine-contract.js';
export type { UserEngine } from '../core/ports/user-engine.js';
