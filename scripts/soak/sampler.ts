import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import type { SoakHomeserver } from './homeserver.js';
import { trendOf } from './trend.js';

export interface Sample {
  /** After garbage collection, in bytes. */
  readonly heap: number;
  readonly sockets: number;
  readonly timers: number;
  /** Requests that the homeserver is answering. */
  readonly openRequests: number;
}

interface Bound {
  /** Growth over the run that counts, in parts of the mean, if it is also more than `floor`. */
  readonly share: number;
  readonly floor: number;
}

const bounds: Readonly<Record<keyof Sample, Bound>> = {
  heap: { share: 0.05, floor: 3_000_000 },
  sockets: { share: 0.1, floor: 10 },
  timers: { share: 0.1, floor: 15 },
  openRequests: { share: 0.1, floor: 10 },
};

setFlagsFromString('--expose-gc');
const collectGarbage = runInNewContext('gc') as () => void;

export async function takeSample(homeserver: SoakHomeserver): Promise<Sample> {
  for (let round = 0; round < 3; round++) {
    collectGarbage();
    await new Promise((resolve) => setImmediate(resolve));
  }
  const counts: Record<string, number> = {};
  for (const kind of process.getActiveResourcesInfo()) counts[kind] = (counts[kind] ?? 0) + 1;
  return {
    heap: process.memoryUsage().heapUsed,
    sockets: counts['TCPSocketWrap'] ?? 0,
    timers: counts['Timeout'] ?? 0,
    openRequests: (await homeserver.count()).inFlight,
  };
}

/** One line per measured value, and what grew. @param warmUp - how many samples to leave out */
export function judge(samples: readonly Sample[], warmUp: number): { lines: string[]; violations: string[] } {
  const measured = samples.slice(warmUp);
  const lines: string[] = [];
  const violations: string[] = [];
  for (const [name, { share, floor }] of Object.entries(bounds) as [keyof Sample, Bound][]) {
    const { mean, growth, significance } = trendOf(measured.map((sample) => sample[name]));
    const line =
      `${name.padEnd(13)} mean ${format(name, mean)}, growth ${format(name, growth)} ` +
      `(${((100 * growth) / mean).toFixed(1)} %, ${significance.toFixed(1)} standard errors)`;
    lines.push(line);
    if (significance > 3 && growth > floor && growth > share * mean) violations.push(`grows: ${line}`);
  }
  return { lines, violations };
}

function format(name: keyof Sample, value: number): string {
  return name === 'heap' ? `${(value / 1_000_000).toFixed(2)} MB` : value.toFixed(1);
}
