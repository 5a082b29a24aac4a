/** Which membership events each device has been sent, so that lazy loading need not repeat them. */
export class LazyMembers {
  readonly #sent = new Map<string, Map<string, number>>();

  /** Forgets what a device was sent, as its initial sync starts over. */
  reset(device: string): void {
    this.#sent.delete(device);
  }

  /** Whether a sync that the device has confirmed, by coming back with a later `since`, held the event. */
  wasSent(device: string, eventId: string, since: number): boolean {
    return (this.#sent.get(device)?.get(eventId) ?? Infinity) <= since;
  }

  markSent(device: string, eventId: string, position: number): void {
    const sent = this.#sent.get(device) ?? new Map<string, number>();
    this.#sent.set(device, sent);
    if (!sent.has(eventId)) sent.set(eventId, position);
  }
}
