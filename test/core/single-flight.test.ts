import { describe, expect, it } from 'vitest';
import { SingleFlight } from '../../src/core/single-flight.js';

function crash(): never {
  throw new Error('crash');
}

describe('SingleFlight', () => {
  it('flies once for all who ask meanwhile, and again afterwards', async () => {
    const flights = new SingleFlight<number>();
    let count = 0;
    const fly = async (): Promise<number> => ++count;
    const together = await Promise.all([flights.run('a', fly), flights.run('a', fly), flights.run('a', fly)]);
    expect(together).toEqual([1, 1, 1]);
    expect(await flights.run('a', fly)).toBe(2);
  });

  it('flies keys apart', async () => {
    const flights = new SingleFlight<string>();
    const fly = (name: string) => flights.run(name, async () => name);
    expect(await Promise.all([fly('a'), fly('b')])).toEqual(['a', 'b']);
  });

  it('tells everybody of a failure, and keeps nothing of it', async () => {
    const flights = new SingleFlight<number>();
    const failing = [1, 2].map(() => flights.run('a', () => Promise.reject(new Error('crash'))));
    for (const flight of failing) await expect(flight).rejects.toThrow('crash');
    await expect(flights.run('a', async () => 1)).resolves.toBe(1);
  });

  it('keeps nothing of a flight that throws before its first await', async () => {
    const flights = new SingleFlight<number>();
    await expect((async () => flights.run('a', crash))()).rejects.toThrow('crash');
    await expect(flights.run('a', async () => 1)).resolves.toBe(1);
  });

  it('settles when every flight has ended, however it ended', async () => {
    const flights = new SingleFlight<void>();
    const [fine, crashing] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
    void flights.run('a', () => fine.promise);
    flights.run('b', () => crashing.promise).catch(() => {});
    let settled = false;
    const waiting = flights.whenIdle().then(() => (settled = true));
    crashing.reject(new Error('crash'));
    await new Promise((resolve) => setImmediate(resolve));
    expect(settled).toBe(false);
    fine.resolve();
    await waiting;
  });
});
