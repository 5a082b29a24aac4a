/** `receiveSyncChanges()` of the SDK's OlmMachine. `toDeviceEvents` is a JSON array. */
export type ReceiveSyncChanges = (
  toDeviceEvents: string,
  deviceLists: object,
  ...counts: unknown[]
) => Promise<readonly unknown[]>;

interface ToDeviceEvent {
  readonly content?: { readonly sender_key?: unknown };
}

/**
 * Splits the to-device messages of a sync, so that the machine stores the room key of one message before it receives
 * the next one of the same sender. A sender may share a session twice. The machine compares a room key only with stored
 * ones, so it would keep the later of two in one call, which cannot decrypt the earlier messages.
 * @param onPart - called before each part
 */
export async function receiveInParts(
  receive: ReceiveSyncChanges,
  onPart: () => void,
  toDeviceEvents: string,
  deviceLists: object,
  ...counts: unknown[]
): Promise<unknown[]> {
  const received: unknown[] = [];
  let remainingLists = deviceLists;
  for (const part of splitBySender(JSON.parse(toDeviceEvents) as ToDeviceEvent[])) {
    onPart();
    received.push(...(await receive(JSON.stringify(part), remainingLists, ...counts)));
    remainingLists = Reflect.construct(deviceLists.constructor as new () => object, []); // passed with the first part
  }
  return received;
}

/** Returns at least one part. A part has at most one message of each sending device. */
function splitBySender(events: readonly ToDeviceEvent[]): ToDeviceEvent[][] {
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
