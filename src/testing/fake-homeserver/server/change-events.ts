/** An event in a response of the homeserver: of a room, or to a device, which has no `event_id`. */
export interface WireEvent extends Readonly<Record<string, unknown>> {
  readonly type: string;
  readonly sender: string;
  readonly event_id?: string;
  readonly content: Readonly<Record<string, unknown>>;
}

/** Returns what a client gets instead of the event, or the event itself. */
export type ChangeEvent = (event: WireEvent) => object;

/** Changes all events in the body of a response, also those that are bundled with other events. */
export function changeEvents(body: unknown, change: ChangeEvent): unknown {
  if (Array.isArray(body)) return body.map((item) => changeEvents(item, change));
  if (typeof body !== 'object' || body === null) return body;
  const copy = Object.fromEntries(Object.entries(body).map(([key, value]) => [key, changeEvents(value, change)]));
  return isEvent(copy) ? change(copy) : copy;
}

function isEvent(value: Readonly<Record<string, unknown>>): value is WireEvent {
  const { type, sender, content } = value;
  return typeof type === 'string' && typeof sender === 'string' && typeof content === 'object' && content !== null;
}
