import type { JsonObject } from '../json.js';

/** Account data of one user, global or for one room: the latest content of each type. */
export class AccountData {
  readonly #byType = new Map<string, { content: JsonObject; stream: number }>();
  #lastStream = 0;

  get(type: string): JsonObject | undefined {
    return this.#byType.get(type)?.content;
  }

  set(type: string, content: JsonObject, stream: number): void {
    this.#byType.set(type, { content, stream });
    this.#lastStream = stream;
  }

  /** Account data that changed after `position`, as in a sync. */
  eventsAfter(position: number): { type: string; content: JsonObject }[] {
    if (this.#lastStream <= position) return [];
    return [...this.#byType]
      .filter(([, data]) => data.stream > position)
      .map(([type, { content }]) => ({ type, content }));
  }
}
