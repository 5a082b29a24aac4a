/** Resolves after one turn of the event loop, so that operations that were just started or ended take effect. */
export function nextEventLoopTurn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
