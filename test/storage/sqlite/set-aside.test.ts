import fs from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import { join } from 'node:path';
import { expect, it, onTestFinished } from 'vitest';
import { setAside } from '../../../src/storage/sqlite/set-aside.js';
import { ManualClock } from '../../../src/testing/manual-clock.js';
import { MemoryLogger } from '../../../src/testing/memory-logger.js';
import { temporaryFolder } from '../temporary-folder.js';

/** The names of the calls of `names` in `node:fs`, in their order, until the test ends. */
function recordCalls(...names: ('fsyncSync' | 'renameSync')[]): string[] {
  const calls: string[] = [];
  const originals = Object.fromEntries(names.map((name) => [name, fs[name]]));
  onTestFinished(() => {
    Object.assign(fs, originals);
    syncBuiltinESMExports();
  });
  for (const name of names) {
    const original = fs[name] as (...args: unknown[]) => void;
    Object.assign(fs, {
      [name]: (...args: unknown[]) => {
        calls.push(name);
        original(...args);
      },
    });
  }
  syncBuiltinESMExports();
  return calls;
}

it('writes its note to the disk before it moves a damaged file', () => {
  const path = join(temporaryFolder(), 'storage.sqlite');
  fs.writeFileSync(path, 'the file');
  const calls = recordCalls('fsyncSync', 'renameSync');
  setAside(path, 'a lost page', { clock: new ManualClock(), logger: new MemoryLogger() });
  expect(calls).toEqual(['fsyncSync', 'renameSync']);
  expect(JSON.parse(fs.readFileSync(`${path}.damaged`, 'utf8'))).toEqual({
    reason: 'a lost page',
    movedTo: 'storage.sqlite.corrupt-20231114T221320000Z',
    reports: 1,
  });
});
