import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { MatrixClientManager } from '../../src/index.js';
import type { ClientEvent } from '../../src/index.js';
import { FakeHomeserver } from '../../src/testing/index.js';
import { codeBlocks } from './markdown.js';
import { guidePages, read } from './pages.js';

/** Runs a code block of a page. */
async function run(path: string): Promise<object> {
  return (await import(path)) as object;
}

afterEach(() => {
  vi.restoreAllMocks();
  vi.unstubAllGlobals();
});

test('the first program of the guide prints what the guide says', async () => {
  const log = vi.spyOn(console, 'log').mockReturnValue();
  await run('docs/guide/getting-started.md/chat.ts');
  expect(log.mock.calls.flat()).toEqual(['@alice:hs.test says: Hello Bob!', 'in the history: Hello Bob!']);
});

test('the program of the README prints what its comments say', async () => {
  const homeserver = new FakeHomeserver();
  vi.stubEnv('MATRIX_HOMESERVER_URL', await homeserver.listen());
  vi.stubEnv('MATRIX_ADMIN_USER', homeserver.admin.userId);
  vi.stubEnv('MATRIX_ADMIN_TOKEN', homeserver.admin.accessToken);
  const log = vi.spyOn(console, 'log').mockReturnValue();
  try {
    await run('README.md/chat.ts');
  } finally {
    vi.unstubAllEnvs();
    await homeserver.close();
  }
  expect(log.mock.calls.flat()).toEqual(['@alice:hs.test: Hello Bob!', '1 message in the room']);
});

/** Blocks that only show options: they make managers of homeservers that do not exist, or declare what is not there. */
const showsOptions = /new MatrixClientManager\(|^declare /m;

const snippets = guidePages.flatMap((page) => {
  const blocks = codeBlocks(read(page), 'ts').filter(({ code, name }) => {
    return /^\d/.test(name) && !showsOptions.test(code);
  });
  return blocks.map(({ name }) => `${page}/${name}`);
});

describe('with a manager, a user and a room as the pages take them for granted', () => {
  let homeserver: FakeHomeserver;
  let manager: MatrixClientManager;
  let folder: string;
  const notify = vi.fn(async (_event: ClientEvent) => {});

  beforeEach(async () => {
    homeserver = new FakeHomeserver();
    manager = new MatrixClientManager({
      homeserverUrl: homeserver.baseUrl,
      admin: homeserver.admin,
      fetch: homeserver.fetch,
      encryption: { path: ':memory:', secret: 'a secret of the guide' },
    });
    const { userId } = await manager.provisionUser({ username: 'carol' });
    const roomId = homeserver.createRoom({ creator: userId, name: 'Lobby' });
    const eventId = homeserver.sendMessage(roomId, userId, 'Hi');
    for (const [name, value] of Object.entries({ manager, userId, roomId, eventId, notify })) {
      vi.stubGlobal(name, value);
    }
    folder = mkdtempSync(join(tmpdir(), 'guide-'));
    writeFileSync(join(folder, 'plan.pdf'), '%PDF-1.7');
    vi.spyOn(console, 'log').mockReturnValue();
  });

  afterEach(async () => {
    await manager.shutdown();
    await homeserver.close();
    rmSync(folder, { recursive: true });
  });

  test.each(snippets)('%s runs', async (path) => {
    const cwd = process.cwd();
    const before = process.listeners('SIGTERM');
    process.chdir(folder); // for files that a page names
    try {
      await expect(run(path)).resolves.toBeDefined();
    } finally {
      process.chdir(cwd);
      const added = process.listeners('SIGTERM').filter((listener) => !before.includes(listener));
      for (const listener of added) process.removeListener('SIGTERM', listener);
    }
  });

  test('there are some', () => {
    expect(snippets.length).toBeGreaterThan(15);
  });
});
