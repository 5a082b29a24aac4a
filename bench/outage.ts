/**
 * `npm run bench:outage -- [--clients 300] [--quick] [--outage 503|refused]`: what an outage of 60 seconds (15 with
 * `--quick`) costs the homeserver and the process of the clients, and when everybody syncs again; this library beside
 * matrix-js-sdk as it is, one after the other, each with a homeserver and clients in processes of their own.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import type { FakeUser } from '../src/testing/index.js';
import { Child } from './outage/child.js';
import type { ClientsAsk, ClientsReport, HomeserverAsk, HomeserverReport, Kind, Outage } from './outage/protocol.js';

interface Result {
  /** Requests in the first second of the outage, then per second. */
  readonly firstSecond: number;
  readonly mean: number;
  readonly max: number;
  /** After how long half of the clients, and all of them, synced again, in milliseconds. */
  readonly p50: number;
  readonly p100: number;
  readonly cpuMs: number;
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: { clients: { type: 'string' }, quick: { type: 'boolean' }, outage: { type: 'string' } },
  });
  const clients = Number(values.clients ?? 300);
  if (!Number.isInteger(clients) || clients < 1) throw new Error('expected --clients to be a whole number above 0');
  const seconds = values.quick ? 15 : 60;
  for (const outage of ['503', 'refused'] as const) {
    if (values.outage !== undefined && values.outage !== outage) continue;
    console.log(`\n${clients} clients, ${seconds} s of ${outage === '503' ? '503 for everything' : 'a closed port'}`);
    const library = await run('library', outage, clients, seconds);
    print('library', library);
    const bare = await run('matrix-js-sdk', outage, clients, seconds);
    print('matrix-js-sdk', bare);
    const ratio = (of: (result: Result) => number): string => (of(bare) / of(library)).toFixed(1);
    console.log(
      `matrix-js-sdk / library: requests/s ${ratio(({ mean }) => mean)}, ` +
        `p50 ${ratio(({ p50 }) => p50)}, p100 ${ratio(({ p100 }) => p100)}, CPU ${ratio(({ cpuMs }) => cpuMs)}`,
    );
  }
}

async function run(kind: Kind, outage: Outage, count: number, seconds: number): Promise<Result> {
  await using homeserver = new Child<HomeserverAsk>('homeserver-process.ts');
  await using clients = new Child<ClientsAsk>('clients-process.ts');
  const { homeserverUrl, users } = (await homeserver.ask({ do: 'users', count })) as {
    homeserverUrl: string;
    users: FakeUser[];
  };
  await clients.ask({ do: 'start', kind, homeserverUrl, users });
  await sleep(3_000);
  await clients.ask({ do: 'mark' });
  await homeserver.ask({ do: 'fail', outage });
  await sleep(seconds * 1_000);
  const { cpuMs, perSecond: tried } = (await clients.ask({ do: 'report' })) as ClientsReport;
  const { perSecond, backAfterMs } = (await homeserver.ask({ do: 'recover' })) as HomeserverReport;
  // A closed port counts nothing: what the clients tried has to do.
  const [firstSecond = 0, ...rest] = outage === '503' ? perSecond : tried;
  const back = backAfterMs.toSorted((a, b) => a - b);
  const all = back.length === count;
  return {
    firstSecond,
    mean: rest.reduce((sum, requests) => sum + requests, 0) / rest.length,
    max: Math.max(...rest),
    p50: back[Math.floor(count / 2)] ?? Infinity,
    p100: all ? (back.at(-1) ?? Infinity) : Infinity,
    cpuMs,
  };
}

function print(kind: Kind, { firstSecond, mean, max, p50, p100, cpuMs }: Result): void {
  console.log(
    `${kind.padEnd(13)} requests: ${firstSecond} in the first second, then ${mean.toFixed(2)}/s (max ${max}); ` +
      `syncing again: p50 ${inSeconds(p50)}, p100 ${inSeconds(p100)}; CPU while down ${Math.round(cpuMs)} ms`,
  );
}

function inSeconds(ms: number): string {
  return `${(ms / 1_000).toFixed(2)} s`;
}

await main();
