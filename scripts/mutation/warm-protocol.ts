/** Name of the test whose run lasts as long as the worker. */
export const hostTest = 'host';

/** Messages between the Stryker process and the vitest worker in it. */
export type WarmRequest =
  | { readonly kind: 'dry-run' }
  | {
      readonly kind: 'mutant';
      readonly mutantId: string;
      /** How often the mutated code may run before it counts as an endless loop. */
      readonly hitLimit: number | undefined;
      readonly testIds: readonly string[];
    }
  | { readonly kind: 'end' };

export type WarmResponse =
  | { readonly kind: 'ready' }
  | { readonly kind: 'dry-run'; readonly tests: readonly TestRun[]; readonly coverage: unknown }
  | { readonly kind: 'mutant'; readonly outcome: MutantOutcome; readonly testsRun: number };

export type MutantOutcome =
  | { readonly kind: 'survived' }
  | { readonly kind: 'killed' | 'timeout'; readonly testId: string; readonly message: string }
  /** The test fails without the mutant as well, after an earlier mutant: the worker has to be replaced. */
  | { readonly kind: 'worker-spoilt' };

export interface TestRun {
  readonly id: string;
  readonly file: string;
  readonly durationMs: number;
  /** Absent where the test passed. */
  readonly failure?: string;
}

declare module 'vitest' {
  interface ProvidedContext {
    mutationTestFiles: string[];
    mutationChannel: string;
  }
}
