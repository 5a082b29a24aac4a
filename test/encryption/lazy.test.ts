import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';

const root = fileURLToPath(new URL('../..', import.meta.url));

it('encryption is loaded by those who use it, and by nobody else', async () => {
  const script = `
    import { registerHooks } from 'node:module';
    const loaded = [];
    registerHooks({
      load(url, context, next) {
        const part = /fake-indexeddb|matrix-sdk-crypto-wasm/.exec(url);
        if (part) loaded.push(url);
        return next(url, context);
      },
    });
    const { MatrixClientManager } = await import('./src/index.ts');
    await new MatrixClientManager({ homeserverUrl: 'http://localhost', admin: { userId: '@a:x', accessToken: 't' } }).shutdown();
    const before = loaded.length;
    const { openCryptoStore } = await import('./test/encryption/support/crypto-store.ts');
    await (await openCryptoStore({ path: ':memory:', secret: new Uint8Array(32) })).close();
    process.stdout.write(JSON.stringify({ before, after: loaded.some((url) => url.includes('fake-indexeddb')) }));`;
  const node = ['--no-warnings', '--import', 'tsx', '--input-type=module', '-e', script];
  const { stdout } = await promisify(execFile)(process.execPath, node, { cwd: root });
  expect(JSON.parse(stdout)).toEqual({ before: 0, after: true });
});
