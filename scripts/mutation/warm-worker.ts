import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { BroadcastChannel } from 'node:worker_threads';
import { inject, TestRunner } from 'vitest';
import type { RunnerTestCase, RunnerTestFile } from 'vitest';
import { allTests, idOf, suitesOf, TestSession } from './run-test.ts';
import { hostTest } from './warm-protocol.ts';
import type { MutantOutcome, TestRun, WarmRequest, WarmResponse } from './warm-protocol.ts';

/** What Stryker's instrumented code reads and writes. */
interface StrykerNamespace {
  activeMutant: string | undefined;
  currentTestId: string | undefined;
  hitCount: number | undefined;
  hitLimit: number | undefined;
  mutantCoverage?: { readonly perTest: Record<string, unknown> };
}

const namespace: StrykerNamespace = ((globalThis as { __stryker__?: StrykerNamespace }).__stryker__ ??= {
  activeMutant: undefined,
  currentTestId: undefined,
  hitCount: undefined,
  hitLimit: undefined,
});
/** In the sandbox, the working directory. */
const durationsFile = 'test-durations.json';
const DRY_RUN_TIMEOUT_MS = 20_000;

/**
 * A vitest runner that collects the tests and then runs them by request: all of them once for the coverage, and after
 * that, for each mutant, the tests that reach it. The import of the tests, which costs far more than they do, is paid
 * once for all mutants and not once for each.
 */
export default class WarmWorker extends TestRunner {
  readonly #tests = new Map<string, RunnerTestCase>();
  readonly #durations = new Map<string, number>();

  onCollected(files: RunnerTestFile[]): void {
    const failed = files.find((file) => file.result?.state === 'fail');
    if (failed) throw new Error(`tests cannot be loaded: ${failed.result?.errors?.[0]?.message}`);
    const without = process.env['MUTATION_WITHOUT'];
    const leftOut = without ? new RegExp(without) : undefined;
    for (const test of files.flatMap(allTests)) {
      if (test.name === hostTest) continue;
      if (!leftOut?.test(test.name)) this.#tests.set(idOf(test), test);
      test.mode = 'skip'; // for vitest's own loop
    }
  }

  /** Called for the host test only. */
  async runTask(): Promise<void> {
    for (const event of ['unhandledRejection', 'uncaughtException']) process.removeAllListeners(event);
    process.on('unhandledRejection', () => {}); // what an earlier mutant left behind concerns no later one
    process.on('uncaughtException', () => {});
    this.#readDurations();
    await this.#serve(new BroadcastChannel(inject('mutationChannel')));
  }

  async #serve(channel: BroadcastChannel): Promise<void> {
    // oxlint-disable-next-line unicorn/require-post-message-target-origin -- not a window
    const send = (response: WarmResponse): void => channel.postMessage(response);
    await new Promise<void>((resolve) => {
      // oxlint-disable-next-line unicorn/prefer-add-event-listener -- the worker's one listener
      channel.onmessage = async (message): Promise<void> => {
        const request = (message as { data: WarmRequest }).data;
        if (request.kind === 'end') resolve();
        else if (request.kind === 'dry-run') send(await this.#dryRun());
        else if (request.kind === 'mutant') send(await this.#runMutant(request));
      };
      send({ kind: 'ready' });
    });
    channel.close();
  }

  async #dryRun(): Promise<WarmResponse> {
    await using session = new TestSession(this);
    const tests: TestRun[] = [];
    for (const [id, test] of this.#tests) {
      namespace.currentTestId = id;
      const startedAt = performance.now();
      const failure = await session.run(test, DRY_RUN_TIMEOUT_MS);
      const durationMs = performance.now() - startedAt;
      this.#durations.set(id, durationMs);
      if (failure) this.#tests.delete(id); // it would kill every mutant
      tests.push({ id, durationMs, file: suitesOf(test)[0]?.name ?? '', ...(failure && { failure: failure.message }) });
    }
    namespace.currentTestId = undefined;
    const coverage = namespace.mutantCoverage;
    for (const { id, failure } of tests) if (failure !== undefined) delete coverage?.perTest[id];
    writeFileSync(durationsFile, JSON.stringify([...this.#durations].filter(([id]) => this.#tests.has(id))));
    return { kind: 'dry-run', tests, coverage };
  }

  /** A worker that takes the place of another one needs no dry run of its own. */
  #readDurations(): void {
    if (!existsSync(durationsFile)) return;
    for (const [id, durationMs] of JSON.parse(readFileSync(durationsFile, 'utf8')) as [string, number][]) {
      this.#durations.set(id, durationMs);
    }
    for (const id of this.#tests.keys()) if (!this.#durations.has(id)) this.#tests.delete(id);
  }

  async #runMutant(request: Extract<WarmRequest, { kind: 'mutant' }>): Promise<WarmResponse> {
    await using session = new TestSession(this);
    const tests = request.testIds.flatMap((id) => this.#tests.get(id) ?? []);
    const durationOf = (test: RunnerTestCase): number => this.#durations.get(idOf(test)) ?? 0;
    let testsRun = 0;
    for (const test of tests.toSorted((a, b) => durationOf(a) - durationOf(b))) {
      const timeoutMs = 1_500 + 6 * durationOf(test);
      Object.assign(namespace, { activeMutant: request.mutantId, hitCount: 0, hitLimit: request.hitLimit });
      const failure = await session.run(test, timeoutMs);
      const endless = request.hitLimit !== undefined && (namespace.hitCount ?? 0) > request.hitLimit;
      Object.assign(namespace, { activeMutant: undefined, hitCount: undefined, hitLimit: undefined });
      testsRun++;
      if (!failure && !endless) continue;
      const spoilt = await session.run(test, DRY_RUN_TIMEOUT_MS);
      const kind = failure?.timedOut || endless ? 'timeout' : 'killed';
      const outcome: MutantOutcome = spoilt
        ? { kind: 'worker-spoilt' }
        : { kind, testId: idOf(test), message: failure?.message ?? 'endless loop' };
      return { kind: 'mutant', outcome, testsRun };
    }
    return { kind: 'mutant', outcome: { kind: 'survived' }, testsRun };
  }
}
