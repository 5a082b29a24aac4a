import { setTimeout as sleep } from 'node:timers/promises';
import type { Random } from '../../test/crash/random.js';
import type { SoakHomeserver } from './homeserver.js';
import type { Fault } from './protocol.js';

const kinds = [
  'latency',
  'rateLimit',
  'status',
  'status',
  'drop',
  'dropAfter',
  'truncated',
  'hang',
  'sameNextBatch',
  'limited',
  'restart',
  'deadToken',
  'deadToken',
] as const;

/** Lets things go wrong, one after the other with pauses between, until the signal fires. Returns how often each did. */
export async function troubleMaker(
  homeserver: SoakHomeserver,
  userIds: readonly string[],
  random: Random,
  signal: AbortSignal,
): Promise<Record<string, number>> {
  const counts: Record<string, number> = {};
  const pause = (ms: number): Promise<unknown> => sleep(ms, undefined, { signal }).catch(() => {});
  while (!signal.aborted) {
    await pause(random.whole(2_000, 8_000));
    if (signal.aborted) break;
    const fault = randomFault(random, userIds);
    const forMs = random.whole(1_000, fault.kind === 'status' ? 10_000 : 6_000);
    counts[fault.kind] = (counts[fault.kind] ?? 0) + 1;
    await homeserver.fault(fault, forMs);
    await pause(random.chance(0.7) ? forMs : 500); // some overlap
  }
  return counts;
}

function randomFault(random: Random, userIds: readonly string[]): Fault {
  const kind = random.pick(kinds);
  const probability = random.pick([0.1, 0.3, 0.6]);
  switch (kind) {
    case 'latency':
      return { kind, probability, ms: random.whole(50, 3_000) };
    case 'rateLimit':
      return { kind, probability, ms: random.whole(500, 5_000) };
    case 'status':
      return { kind, probability: random.pick([0.3, 1]), status: random.pick([500, 502, 503, 504]) };
    case 'drop':
      return { kind, probability: random.pick([0.1, 0.3, 1]) };
    case 'hang':
      return { kind, probability: 0.05 };
    case 'limited':
      return { kind, probability: 1, limit: random.whole(1, 5), omitLimited: random.chance(0.3) };
    case 'restart':
      return { kind, probability: 1 };
    case 'deadToken':
      return { kind, probability: 1, userId: random.pick(userIds) };
    default:
      return { kind, probability };
  }
}
