/** Resolves when what has just been begun or ended has had a turn of the event loop to take effect. */
export function nextEventLoopTurn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
