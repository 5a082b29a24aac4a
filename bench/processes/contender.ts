// One contender, in a process of its own with a fresh heap.
import { setTimeout as sleep } from 'node:timers/promises';
import PQueue from 'p-queue';
import type { Contender, ContenderName, MakeContender } from '../contenders/contender.ts';
import { loadContender } from '../contenders/contender.ts';
import type { RoomTotals } from '../contenders/room-calls.ts';
import { serve } from '../harness/child.ts';
import type { About, User } from '../harness/homeserver.ts';
import { now, stamped, timeOf } from '../harness/homeserver.ts';
import { PerSecond } from '../harness/per-second.ts';

interface UserOfRoom {
  readonly user: User;
  readonly roomId: string;
}

interface Message {
  readonly sender: User;
  readonly roomId: string;
}

interface RoomLists {
  readonly user: User;
  readonly limit: number;
  readonly times: number;
  readonly expected: RoomTotals;
}

/** How long messages may take, in milliseconds. */
const PATIENCE_MS = 300_000;
/** What modules of WebAssembly have for memory. */
const wasmMemories: { readonly buffer: ArrayBuffer }[] = [];
const collectGarbage = globalThis.gc ?? ((): void => {});

let make: MakeContender;
let contender: Contender;
let received = 0;
let latenciesMs: number[] = [];
let wanted = Infinity;
let enough = (): void => {};
let cpu = process.cpuUsage();
let perSecond = new PerSecond();

function onMessage(text: unknown): void {
  const sentAt = timeOf(text);
  if (sentAt === undefined) return; // from before
  received++;
  latenciesMs.push(now() - sentAt);
  if (received >= wanted) enough();
}

/** The compiler has none of the browser's types. */
const { WebAssembly: wasm } = globalThis as unknown as {
  readonly WebAssembly: { instantiate(...args: unknown[]): Promise<WasmInstance & { instance?: WasmInstance }> };
};

interface WasmInstance {
  readonly exports?: { readonly memory?: { readonly buffer: ArrayBuffer } };
}

function watchWasm(): void {
  const instantiate = wasm.instantiate.bind(wasm);
  wasm.instantiate = async (...args) => {
    const made = await instantiate(...args);
    const { exports } = made.instance ?? made;
    if (exports?.memory) wasmMemories.push(exports.memory);
    return made;
  };
}

async function timed(action: () => Promise<unknown>): Promise<number> {
  const begun = performance.now();
  await action();
  return performance.now() - begun;
}

/** Runs the action for each item, `concurrency` at a time; how long each took, and all. */
async function timedEach<T>(
  items: readonly T[],
  concurrency: number,
  action: (item: T) => Promise<unknown>,
): Promise<{ eachMs: number[]; totalMs: number }> {
  const queue = new PQueue({ concurrency });
  const eachMs: number[] = [];
  const totalMs = await timed(() =>
    queue.addAll(items.map((item) => async () => void eachMs.push(await timed(() => action(item))))),
  );
  return { eachMs, totalMs };
}

/** Memory in bytes, after what is garbage has been collected. */
async function memory(): Promise<{ rss: number; heap: number; wasm: number }> {
  for (let time = 0; time < 3; time++) {
    collectGarbage();
    await sleep(100);
  }
  const { rss, heapUsed: heap } = process.memoryUsage();
  return { rss, heap, wasm: wasmMemories.reduce((sum, { buffer }) => sum + buffer.byteLength, 0) };
}

function cpuMs(): number {
  const { user, system } = process.cpuUsage(cpu);
  return (user + system) / 1_000;
}

function onlyIf<T>(method: T | undefined): T {
  if (method === undefined) throw new Error('this contender cannot do that');
  return method;
}

const services = {
  load: async (name: ContenderName) => {
    watchWasm();
    make = await loadContender(name);
  },
  connect: (about: About) => {
    contender = make(about, onMessage);
  },
  memory,
  start: ({ users, concurrency }: { users: readonly User[]; concurrency: number }) =>
    timedEach(users, concurrency, (user) => contender.start(user)),
  sleep: (userId: string) => onlyIf(contender.sleep)(userId),
  /** One message of each, `concurrency` at a time. */
  sendEach: ({ messages, concurrency }: { messages: readonly Message[]; concurrency: number }) =>
    timedEach(messages, concurrency, ({ sender, roomId }) => onlyIf(contender.send)(sender, roomId, stamped())),
  provision: ({ usernames, concurrency }: { usernames: readonly string[]; concurrency: number }) =>
    timedEach(usernames, concurrency, onlyIf(contender.provision)),
  /** Rooms of these users, one after the other of them, `concurrency` at a time. */
  createRooms: ({ users, count, concurrency }: { users: readonly User[]; count: number; concurrency: number }) => {
    const creators = Array.from({ length: count }, (_, index) => users[index % users.length] as User);
    return timedEach(creators, concurrency, (user) => onlyIf(contender.createRoom)(user, 'A room of the benchmark'));
  },
  /** Milliseconds until all of them are in the room. */
  ensureMembers: ({ by, roomId, users }: { by: User; roomId: string; users: readonly User[] }) =>
    timed(async () => {
      const count = await onlyIf(contender.ensureMembers)(by, roomId, users);
      if (count !== users.length) throw new Error(`expected ${users.length} members, got ${count}`);
    }),
  /** Milliseconds for each of `times` lists, all of which come to the same. */
  listRooms: async ({ user, limit, times, expected }: RoomLists) => {
    const eachMs: number[] = [];
    for (let time = 0; time < times; time++) {
      let totals: RoomTotals | undefined;
      eachMs.push(
        await timed(async () => {
          totals = await onlyIf(contender.listRooms)(user, limit);
        }),
      );
      const { rooms, unread } = totals ?? {};
      if (rooms !== expected.rooms || unread !== expected.unread) {
        throw new Error(`expected ${expected.rooms} rooms with ${expected.unread} unread, got ${rooms} with ${unread}`);
      }
    }
    return eachMs;
  },
  /** Each of these users makes a room, speaks in it, and reads another: its members and a page, and the list of rooms. */
  useRooms: ({ users, concurrency }: { users: readonly UserOfRoom[]; concurrency: number }) =>
    timedEach(users, concurrency, async ({ user, roomId }) => {
      const own = await onlyIf(contender.createRoom)(user, 'A room of the benchmark');
      await onlyIf(contender.send)(user, own, 'the only message of this room');
      await onlyIf(contender.countMembers)(user, roomId);
      await onlyIf(contender.readPage)(user, roomId);
      await onlyIf(contender.listRooms)(user, 50);
    }),
  /** Milliseconds for each of `times` pages. */
  readPages: async ({ user, roomId, times }: { user: User; roomId: string; times: number }) => {
    const eachMs: number[] = [];
    let messages = 0;
    for (let time = 0; time < times; time++) {
      eachMs.push(
        await timed(async () => {
          messages = await onlyIf(contender.readPage)(user, roomId);
        }),
      );
    }
    if (messages !== 50) throw new Error(`expected a page of 50, got ${messages}`);
    return eachMs;
  },
  /** Counting begins anew: messages, CPU, requests. */
  mark: () => {
    received = 0;
    latenciesMs = [];
    wanted = Infinity;
    perSecond = new PerSecond();
    cpu = process.cpuUsage();
  },
  /** Resolves when so many messages have come since the mark. */
  received: async (count: number) => {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    wanted = count;
    enough = resolve;
    if (received >= count) resolve();
    const late = setTimeout(() => reject(new Error(`${received} of ${count} messages came`)), PATIENCE_MS);
    await promise.finally(() => clearTimeout(late));
  },
  /** What has happened since the mark. */
  sinceMark: () => ({ cpuMs: cpuMs(), received, latenciesMs, requestsPerSecond: perSecond.counts }),
  /** Counts, from now on, what goes through the global fetch. */
  countRequests: () => {
    const { fetch } = globalThis;
    globalThis.fetch = (...request) => {
      perSecond.count();
      return fetch(...request);
    };
  },
};

export type ContenderServices = typeof services;
serve(services);
