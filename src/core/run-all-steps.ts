/**
 * Runs all steps in order, even if earlier ones fail. Rejects at the end with the error, or with an AggregateError if
 * several steps failed.
 */
export async function runAllSteps(steps: readonly (() => unknown)[], operation: string): Promise<void> {
  const errors: unknown[] = [];
  for (const step of steps) {
    try {
      await step();
    } catch (error) {
      errors.push(error);
    }
  }
  throwErrors(errors, operation);
}

/** Throws the only error, or an AggregateError of several. Does nothing if `errors` is empty. */
export function throwErrors(errors: readonly unknown[], operation: string): void {
  if (errors.length === 1) throw errors[0];
  if (errors.length > 1) throw new AggregateError(errors, `${operation} failed with ${errors.length} errors`);
}
