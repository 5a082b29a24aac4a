/** The membership events that each device has received, so that lazy loading does not repeat them. */
export class LazyMembers {
  readonly #sent = new Map<string, Map<string, number>>();

  /** Forgets the events of a device. Call it at an initial sync. */
  reset(device: string): void {
    this.#sent.delete(device);
  }

  /** Whether the event was in a sync that the device has confirmed by a later `since`. */
  wasSent(device: string, eventId: string, since: number): boolean {
    return (this.#sent.get(device)?.get(eventId) ?? Infinity) <= since;
  }

  markSent(device: string, eventId: string, position: number): void {
    const sent = this.#sent.get(device) ?? new Map<string, number>();
    this.#sent.set(device, sent);
    if (!sent.has(eventId)) sent.set(eventId, position);
  }
}
