/** Counts the messages of each room since the user has read it. */
export class UnreadCounts {
  readonly #counts = new Map<string, number>();
  readonly #onChange: (roomId: string, unread: number) => void;

  constructor(onChange: (roomId: string, unread: number) => void) {
    this.#onChange = onChange;
  }

  of(roomId: string): number {
    return this.#counts.get(roomId) ?? 0;
  }

  add(roomId: string): void {
    this.#set(roomId, this.of(roomId) + 1);
  }

  reset(roomId: string): void {
    if (this.of(roomId) > 0) this.#set(roomId, 0);
  }

  #set(roomId: string, unread: number): void {
    this.#counts.set(roomId, unread);
    this.#onChange(roomId, unread);
  }
}
