import { beforeEach, describe, expect, it, vi } from 'vitest';
import { MemoryLogger } from '../../../src/testing/memory-logger.js';

interface WebAssemblyGlobal {
  readonly instantiate: (source: object, imports?: object) => Promise<{ instance: object }>;
}

const { WebAssembly } = globalThis as unknown as { WebAssembly: WebAssemblyGlobal };
const { instantiate } = WebAssembly;
const EMPTY_MODULE = new Uint8Array([0, 0x61, 0x73, 0x6d, 1, 0, 0, 0]);
const glue = { './matrix_sdk_crypto_wasm_bg.js': {} };

/** A fresh one: what has been loaded is remembered for the process. */
async function containPanics() {
  return (await import('../../../src/sdk/crypto/crypto-wasm.js')).containPanics;
}

beforeEach(() => vi.resetModules());

describe('the loading of the crypto library', () => {
  it('is watched until it comes by, and nothing else is touched', async () => {
    const contain = await containPanics();
    const logger = new MemoryLogger();
    const seen: boolean[] = [];
    const loaded = contain(logger, async () => {
      await WebAssembly.instantiate(EMPTY_MODULE, {});
      seen.push(WebAssembly.instantiate === instantiate);
      await WebAssembly.instantiate(EMPTY_MODULE, glue);
      seen.push(WebAssembly.instantiate === instantiate);
      return 'loaded';
    });
    const beside = contain(logger, () => loaded);
    expect(await Promise.all([loaded, beside])).toEqual(['loaded', 'loaded']);
    expect(logger.entries).toEqual([]);
    expect(seen).toEqual([false, true]);
    expect(WebAssembly.instantiate).toBe(instantiate);
  });

  it('is told of where it had happened before', async () => {
    const contain = await containPanics();
    const logger = new MemoryLogger();
    await contain(logger, async () => {});
    await contain(logger, async () => {});
    expect(logger.entries.filter(({ level }) => level === 'warn')).toHaveLength(1);
    expect(WebAssembly.instantiate).toBe(instantiate);
  });

  it('is watched for again after it failed', async () => {
    const contain = await containPanics();
    const logger = new MemoryLogger();
    const failing = contain(logger, () => Promise.reject(new Error('no file')));
    await expect(failing).rejects.toThrow('no file');
    expect(WebAssembly.instantiate).toBe(instantiate);
    await contain(logger, () => WebAssembly.instantiate(EMPTY_MODULE, glue));
    expect(logger.entries).toEqual([]);
  });
});
