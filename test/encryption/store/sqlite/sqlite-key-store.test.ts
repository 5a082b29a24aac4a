import { copyFileSync, existsSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { systemClock } from '../../../../src/core/clock.js';
import { silentLogger } from '../../../../src/core/logger.js';
import { SqliteKeyStore } from '../../../../src/encryption/store/sqlite/sqlite-key-store.js';
import { keyStoreContract } from '../../../../src/testing/contracts/key-store-contract.js';
import { temporaryFolder } from '../../../storage/temporary-folder.js';

const context = { clock: systemClock, logger: silentLogger };

describe('SqliteKeyStore', () => {
  keyStoreContract({ describe, it, expect }, async (secret) => {
    const path = join(temporaryFolder(), 'keys.sqlite');
    return {
      keys: SqliteKeyStore.open(context, { path, secret }),
      open: async (secret) => SqliteKeyStore.open(context, { path, secret }),
      kill: async () => {
        const copy = join(temporaryFolder(), 'keys.sqlite');
        for (const end of ['', '-wal', '.counters']) if (existsSync(path + end)) copyFileSync(path + end, copy + end);
        return SqliteKeyStore.open(context, { path: copy, secret });
      },
    };
  });
});
