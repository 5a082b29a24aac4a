import { appendFileSync, readFileSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { CounterFile } from '../../../../src/encryption/store/sqlite/counter-file.js';
import { temporaryFolder } from '../../../storage/temporary-folder.js';

const slotBytes = 32;
const newPath = (): string => join(temporaryFolder(), 'counters');

/** Opens the file, lets it be worked with, and closes it. */
function opened<T>(path: string | undefined, work: (counters: CounterFile) => T): T {
  const counters = new CounterFile(path);
  try {
    return work(counters);
  } finally {
    counters.close();
  }
}

describe.each(['a file', 'memory'])('counters in %s', (where) => {
  it('are the highest that was noted, per user and device', () => {
    opened(where === 'memory' ? undefined : newPath(), (counters) => {
      expect(counters.get('@a:x', 'D1')).toBeUndefined();
      counters.raise('@a:x', 'D1', 0);
      expect(counters.get('@a:x', 'D1')).toBe(0);
      for (const count of [3, 2, 3]) counters.raise('@a:x', 'D1', count);
      counters.raise('@a:x', 'D2', 7);
      counters.raise('@b:x', 'D1', 9);
      expect([counters.get('@a:x', 'D1'), counters.get('@a:x', 'D2'), counters.get('@b:x', 'D1')]).toEqual([3, 7, 9]);
    });
  });
});

describe('a counter file', () => {
  it('gives each device one slot, and has all counts after it was opened again', () => {
    const path = newPath();
    opened(path, (counters) => {
      for (const device of ['D0', 'D1', 'D2']) counters.raise('@a:x', device, 1);
      counters.raise('@a:x', 'D1', 5);
    });
    expect(statSync(path).size).toBe(3 * slotBytes);
    opened(path, (counters) => {
      expect(['D0', 'D1', 'D2'].map((device) => counters.get('@a:x', device))).toEqual([1, 5, 1]);
      counters.raise('@a:x', 'D0', 6);
      counters.raise('@a:x', 'D3', 4);
    });
    expect(statSync(path).size).toBe(4 * slotBytes);
    opened(path, (counters) => {
      expect(['D0', 'D1', 'D2', 'D3'].map((device) => counters.get('@a:x', device))).toEqual([6, 5, 1, 4]);
    });
  });

  it('writes nothing for a count that is no higher', () => {
    const path = newPath();
    opened(path, (counters) => {
      counters.raise('@a:x', 'D1', 5);
      truncateSync(path, 0);
      counters.raise('@a:x', 'D1', 5);
      counters.raise('@a:x', 'D1', 4);
      expect(statSync(path).size).toBe(0);
    });
  });

  it('is for its owner only', () => {
    const path = newPath();
    opened(path, () => {});
    expect(statSync(path).mode & 0o777).toBe(0o600);
  });

  it.each([0, 16, 24])('does not know a count whose slot was damaged (byte %i)', (byte) => {
    const path = newPath();
    opened(path, (counters) => {
      counters.raise('@a:x', 'D1', 5);
      counters.raise('@a:x', 'D2', 6);
    });
    const bytes = readFileSync(path);
    bytes[byte] = (bytes[byte] ?? 0) ^ 0xff;
    writeFileSync(path, bytes);
    opened(path, (counters) => {
      expect([counters.get('@a:x', 'D1'), counters.get('@a:x', 'D2')]).toEqual([undefined, 6]);
      counters.raise('@a:x', 'D1', 1); // takes a slot of its own
    });
    opened(path, (counters) => {
      expect([counters.get('@a:x', 'D1'), counters.get('@a:x', 'D2')]).toEqual([1, 6]);
    });
  });

  it('writes over a slot that was cut short', () => {
    const path = newPath();
    opened(path, (counters) => counters.raise('@a:x', 'D1', 5));
    appendFileSync(path, Buffer.alloc(slotBytes - 1));
    opened(path, (counters) => counters.raise('@a:x', 'D2', 6));
    expect(statSync(path).size).toBe(2 * slotBytes);
    opened(path, (counters) => {
      expect([counters.get('@a:x', 'D1'), counters.get('@a:x', 'D2')]).toEqual([5, 6]);
    });
  });

  it('that cannot be opened or written is a STORAGE error which names the file', () => {
    const folder = temporaryFolder();
    const refusal = { code: 'STORAGE', message: expect.stringContaining(folder) as string };
    expect(() => new CounterFile(folder)).toThrow(expect.objectContaining(refusal));
    const counters = new CounterFile(join(folder, 'counters'));
    counters.raise('@a:x', 'D1', 1);
    counters.close();
    expect(() => counters.raise('@a:x', 'D1', 2)).toThrow(expect.objectContaining(refusal)); // its descriptor is closed
    expect(counters.get('@a:x', 'D1')).toBe(1);
  });
});
