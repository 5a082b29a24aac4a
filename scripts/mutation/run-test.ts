import { performance } from 'node:perf_hooks';
import { TestRunner } from 'vitest';
import type { RunnerTask, RunnerTestCase, RunnerTestSuite } from 'vitest';

const { setInterval, clearInterval, setImmediate } = globalThis; // tests may replace them
const eventLoopUtilization = performance.eventLoopUtilization.bind(performance);

/** Runs tests outside vitest's own loop, so that each can run again and again in one process. */
export class TestSession {
  readonly #runner: TestRunner;
  readonly #afterAll: (() => Promise<void>)[] = [];
  readonly #prepared = new Set<RunnerTestSuite>();

  constructor(runner: TestRunner) {
    this.#runner = runner;
  }

  /** Resolves with how the test failed, or with undefined. */
  async run(test: RunnerTestCase, timeoutMs: number): Promise<TestFailure | undefined> {
    const stray: unknown[] = [];
    const listener = (error: unknown): void => void stray.push(error);
    process.on('unhandledRejection', listener);
    process.on('uncaughtException', listener);
    const deadline = new Deadline(timeoutMs);
    try {
      const failure = await Promise.race([this.#runOnce(test).then(failureOf, failureOf), deadline.passed]);
      for (let turn = 0; turn < 2; turn++) await new Promise((resolve) => setImmediate(resolve));
      return failure ?? (stray.length > 0 ? failureOf(stray[0]) : undefined);
    } finally {
      deadline.clear();
      process.off('unhandledRejection', listener);
      process.off('uncaughtException', listener);
    }
  }

  /** Runs the `afterAll` hooks. */
  async [Symbol.asyncDispose](): Promise<void> {
    for (const hook of this.#afterAll.toReversed()) await hook().catch(() => undefined);
  }

  async #runOnce(test: RunnerTestCase): Promise<void> {
    const suites = suitesOf(test);
    for (const suite of suites) await this.#prepare(suite);
    const runner = this.#runner;
    const options = { retry: 0, repeats: 0 };
    runner.onBeforeTryTask(test, options);
    const errors: unknown[] = [];
    const attempt = async (work: () => unknown): Promise<void> => {
      try {
        await work();
      } catch (error) {
        errors.push(error);
      }
    };
    const cleanups: unknown[] = [];
    await attempt(async () => {
      for (const suite of suites) {
        for (const hook of TestRunner.getSuiteHooks(suite).beforeEach) cleanups.push(await hook(test.context, suite));
      }
      await TestRunner.getTestFn(test)();
      runner.onAfterTryTask(test);
    });
    for (const suite of suites.toReversed()) {
      for (const hook of TestRunner.getSuiteHooks(suite).afterEach) await attempt(() => hook(test.context, suite));
    }
    for (const cleanup of cleanups.toReversed()) {
      if (typeof cleanup === 'function') await attempt(() => cleanup() as unknown);
    }
    // onTestFinished() adds to the test that vitest runs, which is the host.
    const host = TestRunner.getCurrentTest() as { onFinished?: ((context: unknown) => unknown)[] | undefined };
    const finished = host.onFinished ?? [];
    host.onFinished = undefined;
    for (const hook of finished.toReversed()) await attempt(() => hook(test.context));
    if (errors.length > 0) throw errors[0];
  }

  async #prepare(suite: RunnerTestSuite): Promise<void> {
    if (this.#prepared.has(suite)) return;
    this.#prepared.add(suite);
    const hooks = TestRunner.getSuiteHooks(suite);
    const call = (hook: unknown): Promise<unknown> => Promise.resolve((hook as (suite: unknown) => unknown)(suite));
    for (const hook of hooks.afterAll) this.#afterAll.push(async () => void (await call(hook)));
    for (const hook of hooks.beforeAll) {
      const cleanup = await call(hook);
      if (typeof cleanup === 'function') this.#afterAll.push(async () => void (await call(cleanup)));
    }
  }
}

/** Passes when nothing has been done for so long: a busy machine makes a test slow, but not idle. */
class Deadline {
  readonly passed: Promise<TestFailure>;
  readonly #timer: NodeJS.Timeout;

  constructor(idleMs: number) {
    const { promise, resolve } = Promise.withResolvers<TestFailure>();
    this.passed = promise;
    const start = eventLoopUtilization();
    const startedAt = performance.now();
    this.#timer = setInterval(() => {
      const { idle } = eventLoopUtilization(start);
      const isOver = idle > idleMs || performance.now() - startedAt > 10 * idleMs;
      if (isOver) resolve({ timedOut: true, message: `no end after ${Math.round(idle)} ms` });
    }, 100);
  }

  clear(): void {
    clearInterval(this.#timer);
  }
}

export interface TestFailure {
  readonly timedOut?: boolean;
  readonly message: string;
}

export function allTests(task: RunnerTask): RunnerTestCase[] {
  if (task.type === 'suite') return task.mode === 'skip' ? [] : task.tasks.flatMap(allTests);
  return task.mode === 'run' || task.mode === 'queued' ? [task] : [];
}

export function idOf(test: RunnerTestCase): string {
  return [...suitesOf(test).map(({ name }) => name), test.name].join(' > ');
}

/** The suites around a test, the outermost first; the file is not one of them. */
export function suitesOf(test: RunnerTestCase): RunnerTestSuite[] {
  const suites: RunnerTestSuite[] = [];
  for (let suite = test.suite; suite; suite = suite.suite) suites.unshift(suite);
  return suites;
}

function failureOf(error: unknown): TestFailure | undefined {
  if (error === undefined) return undefined;
  return { message: error instanceof Error ? `${error.name}: ${error.message}`.slice(0, 500) : 'not an Error' };
}
