import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { onTestFinished } from 'vitest';
import type { expect as vitestExpect, it as vitestIt } from 'vitest';
import type { HomeserverTarget } from '../../../src/testing/contracts/homeserver-contract.js';
import { Recorder } from '../../support/recorder.js';
import { Deployment, encryptedRoom } from './encrypted-chats.js';

/**
 * Rounds before the heap is measured. After them a round still takes 28 kB, and after hundreds 140 bytes; a client that
 * stays takes 150 kB.
 */
const WARM_UP_ROUNDS = 10;

setFlagsFromString('--expose-gc');
const collectGarbage = runInNewContext('gc') as () => void;

async function usedHeap(): Promise<number> {
  for (let round = 0; round < 4; round++) {
    collectGarbage();
    await new Promise((resolve) => setImmediate(resolve));
  }
  return process.memoryUsage().heapUsed;
}

/** The timers that are set from now on until the test ends; resolves to how many wait. */
export function watchTimers(): () => number {
  const { setTimeout: set, clearTimeout: clear } = globalThis;
  const waiting = new Set<unknown>();
  const watched = (run: (...args: unknown[]) => void, ms?: number, ...args: unknown[]): unknown => {
    const timer = set(() => {
      waiting.delete(timer);
      run(...args);
    }, ms);
    waiting.add(timer);
    return timer;
  };
  const cleared = (timer: NodeJS.Timeout): void => {
    waiting.delete(timer);
    clear(timer);
  };
  Object.assign(globalThis, { setTimeout: watched, clearTimeout: cleared });
  onTestFinished(() => void Object.assign(globalThis, { setTimeout: set, clearTimeout: clear }));
  return () => waiting.size;
}

/** The databases that the SDK's WebAssembly has at present. */
function databases(): object[] {
  const { indexedDB } = globalThis as unknown as { indexedDB?: { _databases: Map<string, object> } };
  return [...(indexedDB?._databases.values() ?? [])];
}

/** What is left of clients with encryption that were started and stopped: on a fake homeserver, and on a real one. */
export function comingsAndGoings(
  it: typeof vitestIt,
  expect: typeof vitestExpect,
  { rounds, target }: { readonly rounds: number; readonly target: () => Promise<HomeserverTarget> },
): void {
  it(
    `leave no client, crypto machine, database, timer or memory behind in ${rounds} rounds`,
    async () => {
      const timers = watchTimers();
      const deployment = new Deployment(await target());
      const manager = deployment.start();
      const [alice, bob] = [await deployment.user(manager), await deployment.user(manager)];
      const inbox = new Recorder();
      await manager.startClient({ userId: alice });
      await manager.startClient({ userId: bob, callbacks: [inbox.callback] });
      const roomId = await encryptedRoom(manager, [alice, bob]);
      await manager.stopClient(bob);
      const alices = new Set(databases());
      const timersBefore = timers();
      const made: WeakRef<object>[] = [];
      const round = async (n: number): Promise<void> => {
        await manager.startClient({ userId: bob });
        const client = manager.getClient(bob);
        const crypto = client?.getCrypto() as unknown as { olmMachine: object };
        for (const each of [client as object, crypto, crypto.olmMachine]) made.push(new WeakRef(each));
        const own = databases().filter((database) => !alices.has(database));
        expect(own.length).toBeGreaterThan(0);
        for (const database of own) made.push(new WeakRef(database));
        if (n % 10 === 0) {
          await manager.sendMessage({ userId: alice, roomId, text: `in round ${n}` });
          await inbox.message(`in round ${n}`);
        }
        await manager.stopClient(bob);
      };
      for (let n = 0; n < WARM_UP_ROUNDS; n++) await round(n);
      const heapBefore = await usedHeap();
      for (let n = WARM_UP_ROUNDS; n < rounds; n++) await round(n);
      const heapAfter = await usedHeap();
      expect(made.filter((one) => one.deref() !== undefined)).toHaveLength(0);
      expect(timers()).toBeLessThanOrEqual(timersBefore);
      expect((heapAfter - heapBefore) / (rounds - WARM_UP_ROUNDS)).toBeLessThan(75_000);
      expect(databases()).toHaveLength(alices.size);
    },
    20_000 + rounds * 400,
  );
}
