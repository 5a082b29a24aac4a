// Takes a room's events, by the library or by matrix-js-sdk as it is, and tells what they cost in CPU and memory.
import { ClientEvent, createClient, Filter, RoomEvent, SyncState } from 'matrix-js-sdk';
import type { Logger } from 'matrix-js-sdk/lib/logger.js';
import { MatrixClientManager } from '../../src/index.js';
import type { Told, Work } from './protocol.js';

/** Sent at once: less than a sync may bring, so that nothing has to be fetched afterwards. */
const BURST = 40;

const work = JSON.parse(process.argv[2] ?? '') as Work;
const tell = (told: Told): void => void process.send?.(told);
const collectGarbage = (globalThis as { gc?: () => void }).gc ?? (() => {});

let received = 0;
let wanted = 0;
let block = process.cpuUsage();
let heapBefore = 0;
const cpuPerEvent: number[] = [];

function onEvent(): void {
  received++;
  if (received % work.block === 0) {
    const { user, system } = process.cpuUsage(block);
    cpuPerEvent.push((user + system) / work.block);
    block = process.cpuUsage();
  }
  if (received === wanted) setImmediate(askForMore);
}

function askForMore(): void {
  if (received >= work.events) return finish();
  const more = Math.min(BURST, work.events - wanted);
  wanted += more;
  tell({ more });
}

function finish(): void {
  collectGarbage();
  tell({ done: { cpuPerEvent, heap: process.memoryUsage().heapUsed - heapBefore } });
}

const onClientEvent = ({ type }: { type: string }): void => {
  if (type === 'message') onEvent();
};

const nothing = (): void => {};
const silent: Logger = {
  trace: nothing,
  debug: nothing,
  info: nothing,
  warn: nothing,
  error: nothing,
  getChild: () => silent,
};

async function startOurs(): Promise<void> {
  const { homeserverUrl, listener } = work;
  const manager = new MatrixClientManager({ homeserverUrl, idleTimeoutMs: Infinity });
  await manager.startClient({ ...listener, callbacks: [onClientEvent] });
  setInterval(() => manager.touch(listener.userId), 60_000); // a user who is there
}

async function startBare(): Promise<void> {
  const { homeserverUrl, listener } = work;
  const client = createClient({ baseUrl: homeserverUrl, ...listener, logger: silent, disableVoip: true });
  client.on(RoomEvent.Timeline, (event) => {
    if (client.isInitialSyncComplete() && event.getType() === 'm.room.message') onEvent();
  });
  const started = new Promise<void>((resolve) =>
    client.on(ClientEvent.Sync, (state) => state === SyncState.Syncing && resolve()),
  );
  // As many per sync as the library asks for: the homeserver's default is 10, and the SDK fills no gap.
  const filter = Filter.fromJson(listener.userId, '', { room: { timeline: { limit: 50 } } });
  await client.startClient({ initialSyncLimit: 20, lazyLoadMembers: true, disablePresence: true, filter });
  await started;
}

process.on('disconnect', () => process.exit());
await (work.by === 'ours' ? startOurs() : startBare());
collectGarbage();
heapBefore = process.memoryUsage().heapUsed;
block = process.cpuUsage();
askForMore();
