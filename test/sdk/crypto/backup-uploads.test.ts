import { MatrixError } from 'matrix-js-sdk';
import { describe, expect, it, vi } from 'vitest';
import { replaceBackupUploads } from '../../../src/sdk/crypto/backup-uploads.js';
import type { CryptoBackend } from '../../../src/sdk/crypto/crypto-backend.js';
import { ManualClock } from '../../../src/testing/manual-clock.js';
import { MemoryLogger } from '../../../src/testing/memory-logger.js';

class BackupManager {
  static maxBackupLoopStartDelayMillis = 10_000;
  activeBackupVersion: string | null = '1';
  readonly emit = vi.fn();
  readonly disableKeyBackup = vi.fn(async () => void (this.activeBackupVersion = null));
  readonly checkKeyBackupAndEnable = vi.fn(async () => null);
  backupKeysLoop: () => Promise<void> = async () => {};
}

/**
 * @param answers - of the homeserver to one upload after the other: fine, or what it fails with
 * @param next - the answer after a failure
 */
function backup(answers: (Error | undefined)[], next = (_failure: Error): Error | undefined => undefined) {
  const clock = new ManualClock();
  const logger = new MemoryLogger();
  const ended = new AbortController();
  const backupManager = new BackupManager();
  const uploads: number[] = [];
  const crypto = {
    backupManager,
    olmMachine: { backupRoomKeys: async () => (answers.length > 0 ? {} : undefined) },
    outgoingRequestProcessor: {
      makeOutgoingRequest: async () => {
        uploads.push(clock.now());
        const [answer] = answers.splice(0, 1);
        if (answer) {
          answers.unshift(next(answer));
          throw answer;
        }
      },
    },
  };
  const options = { userId: '@bob:hs.test', ended: ended.signal };
  replaceBackupUploads({ clock, logger }, { ...options, crypto: crypto as unknown as CryptoBackend });
  return { clock, logger, ended, backupManager, uploads, begunAt: clock.now() };
}

describe('new keys', () => {
  it('go to the backup within ten seconds, all that there are, by one loop at a time', async () => {
    const { clock, backupManager, uploads } = backup([undefined, undefined]);
    const loops = [backupManager.backupKeysLoop(), backupManager.backupKeysLoop()];
    await clock.advance(10_000);
    await Promise.all(loops);
    expect(uploads).toHaveLength(2);
    expect(backupManager.emit.mock.calls).toEqual([['crypto.keyBackupSessionsRemaining', 0]]);
    void backupManager.backupKeysLoop();
    await clock.advance(10_000);
    expect(backupManager.emit).toHaveBeenCalledTimes(2);
  });

  it('are tried again: after what the homeserver says, else by and by', async () => {
    const limited = new MatrixError({ errcode: 'M_LIMIT_EXCEEDED', retry_after_ms: 40_000 }, 429);
    const { clock, backupManager, uploads, begunAt } = backup([new Error('broken')]);
    const loop = backupManager.backupKeysLoop();
    await clock.advance(12_000);
    await loop;
    expect(uploads).toHaveLength(2);
    const other = backup([limited]);
    void other.backupManager.backupKeysLoop();
    await other.clock.advance(10_000);
    expect(other.uploads).toHaveLength(1);
    await other.clock.advance(40_000);
    expect(other.uploads).toHaveLength(2);
    expect((other.uploads[1] ?? 0) - (other.uploads[0] ?? 0)).toBe(40_000);
    expect(begunAt).toBeLessThan(uploads[0] ?? 0);
  });

  it('leave a backup that is gone, and look for the one in its place', async () => {
    const { clock, backupManager, uploads } = backup([new MatrixError({ errcode: 'M_WRONG_ROOM_KEYS_VERSION' }, 403)]);
    const loop = backupManager.backupKeysLoop();
    await clock.advance(10_000);
    await loop;
    expect(uploads).toHaveLength(1);
    expect(backupManager.disableKeyBackup).toHaveBeenCalledOnce();
    expect(backupManager.emit.mock.calls).toEqual([['crypto.keyBackupFailed', 'M_WRONG_ROOM_KEYS_VERSION']]);
    expect(backupManager.checkKeyBackupAndEnable).toHaveBeenCalledWith(true);
  });

  it.each([0, 1, 3])('go ever more seldom to a backup that is gone each time, after %i batches', async (batches) => {
    const gone = new MatrixError({ errcode: 'M_NOT_FOUND' }, 404);
    const answers: (Error | undefined)[] = [...Array<undefined>(batches), gone];
    const { clock, backupManager, uploads } = backup(answers, (failure) => failure);
    backupManager.checkKeyBackupAndEnable.mockImplementation(async () => {
      backupManager.activeBackupVersion = '1'; // as the homeserver says in the same breath
      answers.unshift(...Array<undefined>(batches)); // all keys are uploaded again
      void backupManager.backupKeysLoop();
      return null;
    });
    void backupManager.backupKeysLoop();
    for (let minute = 0; minute < 60; minute++) await clock.advance(60_000);
    expect(uploads.length / (batches + 1)).toBeGreaterThan(8);
    expect(uploads.length / (batches + 1)).toBeLessThan(40); // 33 if each random pause is the shortest
  });

  it('wait less again for a backup that is gone after all were in it', async () => {
    const gone = new MatrixError({ errcode: 'M_NOT_FOUND' }, 404);
    const answers: (Error | undefined)[] = [];
    const { clock, backupManager, uploads } = backup(answers);
    backupManager.checkKeyBackupAndEnable.mockImplementation(async () => {
      backupManager.activeBackupVersion = '1';
      void backupManager.backupKeysLoop();
      return null;
    });
    for (let time = 0; time < 12; time++) {
      answers.push(gone);
      void backupManager.backupKeysLoop();
      await clock.advance(30_000);
      expect([answers, uploads.length]).toEqual([[], 2 * (time + 1)]);
    }
  });

  it('are not forgotten where they come when the loop is about to end', async () => {
    const answers: undefined[] = [undefined];
    const { clock, backupManager, uploads } = backup(answers);
    backupManager.emit.mockImplementationOnce(() => {
      answers.push(undefined);
      void backupManager.backupKeysLoop();
    });
    const loop = backupManager.backupKeysLoop();
    await clock.advance(20_000);
    await loop;
    expect(uploads).toHaveLength(2);
  });

  it.each([
    ['before the first upload', 0],
    ['after a failure', 1],
  ])('wait for nothing any more when the client ends %s', async (_when, failures) => {
    const { clock, logger, ended, backupManager, uploads } = backup([new Error('broken')]);
    const loop = backupManager.backupKeysLoop();
    while (uploads.length < failures) await clock.advance(100);
    expect(clock.pendingTimers).toBe(1);
    ended.abort();
    await loop;
    expect([clock.pendingTimers, logger.entries]).toEqual([0, []]);
  });
});
