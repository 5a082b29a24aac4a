import { describe, expect, it } from 'vitest';
import { Semaphore } from '../../src/users/semaphore.js';

describe('a semaphore', () => {
  it('passes a place on if its waiter is admitted and aborted at the same time', async () => {
    const semaphore = new Semaphore(1);
    await semaphore.acquire(new AbortController().signal, 'the first');
    const controller = new AbortController();
    const second = semaphore.acquire(controller.signal, 'the second').catch((error: unknown) => error);
    const third = semaphore.acquire(new AbortController().signal, 'the third');
    semaphore.release();
    controller.abort();
    expect(await second).toMatchObject({ code: 'ABORTED' });
    await third;
    expect(semaphore.isFull).toBe(true);
    semaphore.release();
    expect(semaphore.isFull).toBe(false);
  });

  it('admits nobody whose signal has fired, not even to a free place', async () => {
    const semaphore = new Semaphore(1);
    await expect(semaphore.acquire(AbortSignal.abort(), 'the start')).rejects.toMatchObject({ code: 'ABORTED' });
    expect(semaphore.isFull).toBe(false);
  });
});
