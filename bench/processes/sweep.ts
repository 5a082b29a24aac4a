// 100,000 registered users whose clients are stand-ins: what looking for idle ones costs when nobody is.
import type { RegistryContext } from '../../src/users/client-registry.js';
import type { ManagedClient } from '../../src/users/client-slot.js';
import { serve } from '../harness/child.ts';
import { importLibrary } from '../harness/library.ts';

const SWEEP_INTERVAL_MS = 60_000;
const standIn = { deviceId: 'D', start: async () => {}, stop: async () => {}, rest: () => {}, wake: () => {} };

/** Calls what the registry has set a timer for, and says how long that took, in microseconds. */
type Sweep = () => number;

async function registry(users: number): Promise<Sweep> {
  const { ClientRegistry } = await importLibrary('client-registry');
  let time = Date.now();
  let due: (() => void) | undefined;
  const clock: RegistryContext['clock'] = {
    now: () => time,
    setTimeout: (fn) => {
      due = fn;
      return 1;
    },
    clearTimeout: () => {},
  };
  const logger = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} };
  const limits = { startTimeoutMs: 60_000, requestTimeoutMs: 30_000, maxResponseBytes: 2 ** 28 };
  const registry = new ClientRegistry(
    { clock, logger, limits },
    {
      create: async () => standIn as unknown as ManagedClient,
      idleTimeoutMs: 7_200_000,
      sweepIntervalMs: SWEEP_INTERVAL_MS,
      maxHeapBytes: Infinity,
      maxClients: Infinity,
      startConcurrency: 100,
      onStateChanged: () => {},
      onStarted: () => {},
      onStopped: () => {},
    },
  );
  // They come within eight minutes, and no decision about them is due in the minutes measured.
  for (let first = 0; first < users; first += 100) {
    time += (8 * 60_000) / (users / 100);
    await Promise.all(Array.from({ length: 100 }, (_, n) => registry.start(`@user${first + n}:hs.test`)));
  }
  return () => {
    const sweep = due;
    if (!sweep) throw new Error('expected the registry to look again');
    const begun = process.hrtime.bigint();
    sweep();
    return Number(process.hrtime.bigint() - begun) / 1_000;
  };
}

/** What one writes first: every minute, look at everybody. */
function everybody(users: number): Sweep {
  const lastActivity = new Map(Array.from({ length: users }, (_, n) => [`@user${n}:hs.test`, Date.now()]));
  return () => {
    const begun = process.hrtime.bigint();
    const now = Date.now();
    const idle = [...lastActivity].filter(([, at]) => now - at > 7_200_000);
    const took = Number(process.hrtime.bigint() - begun) / 1_000;
    if (idle.length > 0) throw new Error('expected nobody to be idle');
    return took;
  };
}

const services = {
  /** Microseconds of each sweep, the first ones left out. */
  sweep: async ({ users, name, times }: { users: number; name: 'ours' | 'everybody'; times: number }) => {
    const sweep = name === 'ours' ? await registry(users) : everybody(users);
    const warmUp = Math.ceil(times / 5);
    return Array.from({ length: warmUp + times }, sweep).slice(warmUp);
  },
};

export type SweepServices = typeof services;
serve(services);
