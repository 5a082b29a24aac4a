/** The homeserver's counter of stream positions. Each change that a sync can return has its own position. */
export class Stream {
  #position = 0;

  get position(): number {
    return this.#position;
  }

  next(): number {
    return ++this.#position;
  }
}

/** The index of the first item after `position` in a list ordered by `stream`. */
export function firstAfter(items: readonly { readonly stream: number }[], position: number): number {
  let low = 0;
  let high = items.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((items[middle]?.stream ?? 0) > position) high = middle;
    else low = middle + 1;
  }
  return low;
}
