import { expect, it } from 'vitest';
import { runChild } from '../../storage/children/run-child.js';
import { temporaryFolder } from '../../storage/temporary-folder.js';
import { expectEachKeyUsedOnce } from '../support/message-index.js';

// prlimit is Linux's.
it.skipIf(process.platform !== 'linux')(
  'a full disk ends the clients whose keys it cannot take; when there is room again, they go on as they were',
  async () => {
    const child = runChild('../../encryption/children/full-disk.ts', [temporaryFolder()], { fileSizeLimit: 1_000_000 });
    const [line = '{}'] = await child.end();
    const { stops, contents, ...rest } = JSON.parse(line);
    expect(stops).toHaveLength(2);
    for (const userId of ['@alice:hs.test', '@bob:hs.test']) {
      const error = expect.stringMatching(/could not write .*keys\.sqlite: the disk/);
      expect(stops).toContainEqual({ userId, reason: 'failed', error });
    }
    expect(rest).toEqual({
      replaced: [],
      startWhileFull: 'live', // a start of a known device writes no keys
      sendWhileFull: 'STORAGE',
      states: ['failed', 'failed', 'live'],
      bodies: ['before', 'while it fills', 'after'],
      sameKeys: true,
    });
    expect(contents).toHaveLength(3);
    expectEachKeyUsedOnce(contents);
  },
);
