import type { World } from '../world/world.js';

/**
 * Responds when there is a change, or with an empty response after `timeoutMs`. When `signal` is aborted, it stops its
 * timer and waits no longer.
 */
export async function longPoll<Answer extends { readonly isEmpty: boolean }>(
  world: World,
  userId: string,
  timeoutMs: number,
  signal: AbortSignal,
  look: () => Answer,
): Promise<Answer> {
  const deadline = world.clock.now() + timeoutMs;
  for (;;) {
    const response = look();
    const left = deadline - world.clock.now();
    if (!response.isEmpty || left <= 0 || signal.aborted) return response;
    await somethingHappens(world, userId, left, signal);
  }
}

function somethingHappens(world: World, userId: string, timeoutMs: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const finish = (): void => {
      world.clock.clearTimeout(timer);
      stopWaiting();
      signal.removeEventListener('abort', finish);
      resolve();
    };
    const timer = world.clock.setTimeout(finish, timeoutMs);
    const stopWaiting = world.waiters.add(userId, finish);
    signal.addEventListener('abort', finish, { once: true });
  });
}
