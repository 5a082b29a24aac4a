/** `receiveSyncChanges()` of the SDK's OlmMachine: what came to the device, in JSON, and what of the sync goes with it. */
export type ReceiveSyncChanges = (
  toDeviceEvents: string,
  deviceLists: object,
  ...counts: unknown[]
) => Promise<readonly unknown[]>;

interface ToDeviceEvent {
  readonly content?: { readonly sender_key?: unknown };
}

/**
 * Gives a machine what has come to the device so that it has stored what one message brings before it sees the next
 * one of the same sender. It compares a room key with what is stored only: of two keys of one session, which a sender
 * shares again when Olm sessions have crossed, it would keep the later one, and what was said before were lost.
 */
export async function receiveInParts(
  receive: ReceiveSyncChanges,
  toDeviceEvents: string,
  deviceLists: object,
  ...counts: unknown[]
): Promise<unknown[]> {
  const received: unknown[] = [];
  let lists = deviceLists;
  for (const part of partsOf(JSON.parse(toDeviceEvents) as ToDeviceEvent[])) {
    received.push(...(await receive(JSON.stringify(part), lists, ...counts)));
    lists = Reflect.construct(deviceLists.constructor as new () => object, []); // they were told with the first part
  }
  return received;
}

/** At least one; in each, at most one message of a sender's device. */
function partsOf(events: readonly ToDeviceEvent[]): ToDeviceEvent[][] {
  let part: ToDeviceEvent[] = [];
  const parts = [part];
  const senders = new Set<unknown>();
  for (const event of events) {
    const sender = event.content?.sender_key;
    if (senders.has(sender)) {
      parts.push((part = []));
      senders.clear();
    }
    if (sender !== undefined) senders.add(sender);
    part.push(event);
  }
  return parts;
}
