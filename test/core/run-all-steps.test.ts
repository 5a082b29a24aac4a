import { describe, expect, it } from 'vitest';
import { runAllSteps } from '../../src/core/run-all-steps.js';

describe('runAllSteps', () => {
  const log: string[] = [];
  const step = (name: string, fails?: Error) => () => {
    log.push(name);
    if (fails) throw fails;
  };

  it('runs every step in order, whatever one of them fails with', async () => {
    const [first, third] = [new Error('first'), new Error('third')];
    const steps = [step('1', first), async () => void log.push('2'), () => Promise.reject(third), step('4')];
    const failure: unknown = await runAllSteps(steps, 'ending').catch((error: unknown) => error);
    expect(failure).toBeInstanceOf(AggregateError);
    expect((failure as AggregateError).errors).toEqual([first, third]);
    expect(log).toEqual(['1', '2', '4']);
  });

  it('rejects with one error as it is, and not at all without one', async () => {
    const failure = new Error('no');
    await expect(runAllSteps([step('1', failure), step('2')], 'ending')).rejects.toBe(failure);
    await runAllSteps([step('1')], 'ending');
  });
});
