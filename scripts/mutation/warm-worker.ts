import { BroadcastChannel } from 'node:worker_threads';
import { inject, TestRunner } from 'vitest';
import type { RunnerTestCase, RunnerTestFile } from 'vitest';
import { allTests, idOf, suitesOf, TestSession } from './run-test.ts';
import type { MutantOutcome, TestRun, WarmRequest, WarmResponse } from './warm-protocol.ts';

/** What Stryker's instrumented code reads and writes. */
interface StrykerNamespace {
  activeMutant: string | undefined;
  currentTestId: string | undefined;
  hitCount: number | undefined;
  hitLimit: number | undefined;
  mutantCoverage?: unknown;
}

const namespace: StrykerNamespace = ((globalThis as { __stryker__?: StrykerNamespace }).__stryker__ ??= {
  activeMutant: undefined,
  currentTestId: undefined,
  hitCount: undefined,
  hitLimit: undefined,
});
const DRY_RUN_TIMEOUT_MS = 20_000;

/**
 * A vitest runner that collects the tests and then runs them by request: all of them once for the coverage, and after
 * that, for each mutant, the tests that reach it. The import of the tests, which costs far more than they do, is paid
 * once for all mutants and not once for each.
 */
export default class WarmWorker extends TestRunner {
  readonly #tests = new Map<string, RunnerTestCase>();
  readonly #durations = new Map<string, number>();

  async onCollected(files: RunnerTestFile[]): Promise<void> {
    const failed = files.find((file) => file.result?.state === 'fail');
    if (failed) throw new Error(`tests cannot be loaded: ${failed.result?.errors?.[0]?.message}`);
    for (const test of files.flatMap(allTests)) this.#tests.set(idOf(test), test);
    for (const event of ['unhandledRejection', 'uncaughtException']) process.removeAllListeners(event);
    process.on('unhandledRejection', () => {}); // what an earlier mutant left behind concerns no later one
    process.on('uncaughtException', () => {});
    for (const file of files) await this.onBeforeRunSuite(file); // expect() wants its snapshot state
    await this.#serve(new BroadcastChannel(inject('mutationChannel')));
    for (const file of files) file.mode = 'skip';
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
      tests.push({ id, durationMs, file: suitesOf(test)[0]?.name ?? '', ...(failure && { failure: failure.message }) });
    }
    namespace.currentTestId = undefined;
    return { kind: 'dry-run', tests, coverage: namespace.mutantCoverage };
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
