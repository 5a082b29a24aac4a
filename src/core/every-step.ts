/**
 * Runs the steps one after the other, each one whatever those before it failed with. Rejects at the end with what failed:
 * with the one error, or with an AggregateError of all.
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

/** Throws what `errors` holds: the one error, or an AggregateError of all; does nothing where there is none. */
export function throwErrors(errors: readonly unknown[], operation: string): void {
  if (errors.length === 1) throw errors[0];
  if (errors.length > 1) throw new AggregateError(errors, `${operation} failed in ${errors.length} places`);
}
