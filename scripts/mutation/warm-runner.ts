import { globSync } from 'node:fs';
import { resolve } from 'node:path';
import { BroadcastChannel } from 'node:worker_threads';
import type { Vitest } from 'vitest/node';
import type { WarmRequest, WarmResponse } from './warm-protocol.ts';

// Stryker's types are not imported: a checkout without Stryker still passes the type check.
interface MutantRunOptions {
  readonly activeMutant: { readonly id: string };
  readonly testFilter?: readonly string[];
  readonly hitLimit?: number;
}
const passed = 0;
const skipped = 2;

/**
 * Stryker's test runner on a vitest worker that stays. Stryker's own runner for vitest starts a worker per mutant, which
 * costs a second each; here a mutant costs what the tests that reach it cost. A test that kills a mutant is run once
 * more without it: where it fails then too, an earlier mutant has left something behind, and the mutant is tried again
 * in a new worker.
 */
class WarmRunner {
  static readonly inject = [] as const;
  #vitest: Vitest | undefined;
  #running: Promise<unknown> | undefined;
  #channel: BroadcastChannel | undefined;

  capabilities(): { reloadEnvironment: boolean } {
    return { reloadEnvironment: false };
  }

  async init(): Promise<void> {
    process.env['NODE_ENV'] = 'test';
    process.env['VITEST'] = '1';
    await this.#start();
  }

  async dryRun(): Promise<unknown> {
    const response = await this.#request({ kind: 'dry-run' });
    if (response.kind !== 'dry-run') throw new Error(`unexpected ${response.kind}`);
    const tests = response.tests.map(({ id, file, durationMs, failure }) => {
      const result = { id, name: id, fileName: resolve(file), timeSpentMs: durationMs };
      if (failure === undefined) return { ...result, status: passed };
      console.warn(`Left out, as it fails without a mutant: ${id}: ${failure}`);
      return { ...result, status: skipped };
    });
    return { status: 'complete', tests, mutantCoverage: response.coverage };
  }

  async mutantRun(options: MutantRunOptions): Promise<unknown> {
    for (let attempt = 1; ; attempt++) {
      const response = await this.#request({
        kind: 'mutant',
        mutantId: options.activeMutant.id,
        hitLimit: options.hitLimit,
        testIds: options.testFilter ?? [],
      });
      if (response.kind !== 'mutant') throw new Error(`unexpected ${response.kind}`);
      const { outcome, testsRun } = response;
      if (outcome.kind === 'survived') return { status: 'survived', nrOfTests: testsRun };
      if (outcome.kind === 'timeout') return { status: 'timeout', reason: `${outcome.testId}: ${outcome.message}` };
      if (outcome.kind === 'killed') {
        return {
          status: 'killed',
          killedBy: [outcome.testId],
          failureMessage: outcome.message,
          nrOfTests: testsRun,
        };
      }
      if (attempt === 2) return { status: 'error', errorMessage: 'its test fails without the mutant too' };
      await this.dispose();
      await this.#start();
    }
  }

  async dispose(): Promise<void> {
    this.#channel?.postMessage({ kind: 'end' } satisfies WarmRequest);
    this.#channel?.close();
    await this.#running?.catch(() => undefined);
    await this.#vitest?.close();
  }

  async #start(): Promise<void> {
    const { createVitest } = await import('vitest/node');
    const name = `mutation-${process.pid}-${performance.now()}`;
    this.#vitest = await createVitest('test', {
      config: 'vitest.mutation.config.ts',
      include: ['scripts/mutation/all-tests.ts'],
      runner: resolve('scripts/mutation/warm-worker.ts'),
      pool: 'threads',
      isolate: false,
      maxWorkers: 1,
      watch: false,
      reporters: [{ onTestRunEnd: () => undefined }],
      onConsoleLog: () => false,
      passWithNoTests: true,
    });
    this.#vitest.provide('mutationTestFiles', testFiles());
    this.#vitest.provide('mutationChannel', name);
    this.#channel = new BroadcastChannel(name);
    const ready = this.#response();
    this.#running = this.#vitest.start();
    const ended = this.#running.then(() => {
      const errors = this.#vitest?.state.getUnhandledErrors() ?? [];
      const files = this.#vitest?.state.getFiles().flatMap((file) => file.result?.errors ?? []) ?? [];
      throw new Error(`the worker ended: ${[...errors, ...files].map((error) => (error as Error).message).join('; ')}`);
    });
    ended.catch(() => undefined);
    await Promise.race([ready, ended]);
  }

  #request(request: WarmRequest): Promise<WarmResponse> {
    const response = this.#response();
    this.#channel?.postMessage(request);
    return response;
  }

  #response(): Promise<WarmResponse> {
    return new Promise((resolve) => {
      if (this.#channel) {
        // oxlint-disable-next-line unicorn/prefer-add-event-listener -- each request has one answer
        this.#channel.onmessage = (message): void => resolve((message as { data: WarmResponse }).data);
      }
    });
  }
}

function testFiles(): string[] {
  const patterns = JSON.parse(process.env['MUTATION_TESTS'] ?? '[]') as string[];
  return globSync(patterns)
    .map((file) => resolve(file))
    .toSorted();
}

export const strykerPlugins = [{ kind: 'TestRunner', name: 'warm-vitest', injectableClass: WarmRunner }];
