import type { Clock } from '../../../core/clock.js';
import { delay } from '../../../core/abort.js';
import { ConnectionDropped } from './connection-dropped.js';
import type { JsonObject } from '../json.js';
import { CutResponse } from './cut-response.js';
import { changeEvents } from './change-events.js';
import type { ChangeEvent, WireEvent } from './change-events.js';
import { tellLie } from './encryption-lies.js';
import { withDevice } from './injected-devices.js';
import type { InjectedDevice, InjectedMessages } from './injected-devices.js';
import type { FaultMatch } from './fault-match.js';
import { FaultMatcher } from './fault-match.js';
import type { ReceivedRequest } from './received-request.js';

const STATUSES_WITHOUT_BODY = new Set([204, 205, 304]);

type Respond = () => Promise<Response>;
type Fault = (request: ReceivedRequest, answer: Respond) => Promise<Response>;

/** Which requests get another answer about encryption. A condition that is left out matches all. */
export interface EncryptionFaultMatch extends FaultMatch {
  readonly roomId?: string;
}

/** Ends the fault that the call has set. */
export type Disposer = () => void;

/** Which encrypted events get another sender, and which one. */
export interface SenderSwap {
  /** The user who sent the events. */
  readonly from: string;
  /** The user whom the homeserver names as their sender. */
  readonly to: string;
  /** The id of one event. @default all events of `from` */
  readonly eventId?: string;
  /** Whether messages to devices get the other sender, and not the events of rooms. @default false */
  readonly toDevice?: boolean;
}

/** An encrypted event that is sent a second time. */
export interface EncryptedReplay {
  readonly roomId: string;
  /** The encrypted event whose content is sent again. */
  readonly eventId: string;
  /** Who sends it again: by default the homeserver, in the name of the first sender. */
  readonly sender?: string;
  /** The room that gets it. @default `roomId` */
  readonly intoRoomId?: string;
}

/** What the faults do to the homeserver itself. */
export interface FaultActions {
  /** Throws if no endpoint has that path template. */
  readonly assertEndpoint: (endpoint: string) => void;
  /** Sends an event again and returns the id of the new one. */
  readonly replay: (options: EncryptedReplay) => string;
  /** Puts messages into the inbox of a device. */
  readonly deliver: (messages: InjectedMessages) => void;
}

/**
 * Injects faults between clients and the homeserver. Every method returns a disposer that ends its fault. Faults apply
 * in the order in which they were set. One that needs the homeserver's response, such as a latency, lets later faults
 * apply too; the others replace the response.
 */
export class Faults {
  readonly #clock: Clock;
  readonly #actions: FaultActions;
  readonly #faults = new Set<{ matcher: FaultMatcher; fault: Fault }>();
  readonly #eventChanges = new Set<{ matcher: FaultMatcher; change: ChangeEvent }>();

  constructor(clock: Clock, actions: FaultActions) {
    this.#clock = clock;
    this.#actions = actions;
  }

  /** Delays the request by `ms` milliseconds on the homeserver's clock. */
  latency(match: FaultMatch, ms: number): Disposer {
    return this.#add(match, async ({ signal }, answer) => {
      await delay(this.#clock, ms, signal, 'a delayed answer');
      return answer();
    });
  }

  /** Responds with 429. @param options - `header` and `body` say where the wait is sent; in both by default */
  rateLimit(match: FaultMatch, options: { retryAfterMs: number; header?: boolean; body?: boolean }): Disposer {
    const { retryAfterMs, header = true, body = true } = options;
    return this.status(match, {
      status: 429,
      headers: header ? { 'Retry-After': String(Math.ceil(retryAfterMs / 1000)) } : {},
      body: {
        errcode: 'M_LIMIT_EXCEEDED',
        error: 'Too Many Requests',
        ...(body && { retry_after_ms: retryAfterMs }),
      },
    });
  }

  /** Responds with a status. @param options - `body` is sent as JSON, a string unchanged */
  status(
    match: FaultMatch,
    options: { status: number; body?: unknown; headers?: Record<string, string>; errcode?: string },
  ): Disposer {
    const { status, headers = {}, errcode = 'M_UNKNOWN' } = options;
    const body = options.body ?? { errcode, error: `Fault: ${status}` };
    return this.#add(match, async () => {
      if (STATUSES_WITHOUT_BODY.has(status)) return new Response(null, { status, headers });
      if (typeof body === 'string') return new Response(body, { status, headers });
      return new Response(JSON.stringify(body), {
        status,
        headers: { 'Content-Type': 'application/json', ...headers },
      });
    });
  }

  /** Responds with a web page, as a proxy or a captive portal does. @param status - 200 by default */
  html(match: FaultMatch, status = 200): Disposer {
    const body = '<!DOCTYPE html><html><head><title>Gateway</title></head><body><h1>Gateway</h1></body></html>';
    return this.status(match, { status, body, headers: { 'Content-Type': 'text/html; charset=utf-8' } });
  }

  /** Handles the request, and sends a complete response with only the first half of the body. */
  truncatedJson(match: FaultMatch): Disposer {
    return this.#add(match, async (_request, answer) => {
      const response = await answer();
      const text = await response.text();
      const headers = { 'Content-Type': 'application/json' };
      return new Response(text.slice(0, Math.max(1, text.length >> 1)), { status: response.status, headers });
    });
  }

  /** Handles the request, and ends the connection in the middle of the response body. */
  cutBody(match: FaultMatch): Disposer {
    return this.#add(match, async (_request, answer) => {
      const response = await answer();
      return new CutResponse(new Uint8Array(await response.arrayBuffer()), response);
    });
  }

  /** Responds with 200 and `body`, such as JSON with types that the endpoint does not return. */
  wrongTypes(match: FaultMatch, body: unknown): Disposer {
    return this.#add(match, async () => Response.json(body));
  }

  /** Handles the request, and sends the JSON response as changed by `change`. */
  rewrite(match: FaultMatch, change: (body: unknown) => unknown): Disposer {
    return this.#add(match, async (_request, answer) => {
      const response = await answer();
      const body = JSON.stringify(change(await response.json()));
      return new Response(body, { status: response.status, headers: { 'Content-Type': 'application/json' } });
    });
  }

  /**
   * Hides that rooms are encrypted: their `m.room.encryption` events are missing in every response, and reading that state
   * gets 404. Running requests are not changed.
   */
  hideEncryption(match: EncryptionFaultMatch = {}): Disposer {
    return this.#lieAboutEncryption(match, undefined);
  }

  /**
   * Shows the `m.room.encryption` events of rooms with this content: other settings, an unknown algorithm, or `{}` as after
   * a redaction. Running requests are not changed.
   */
  changeEncryption(match: EncryptionFaultMatch, content: Readonly<JsonObject>): Disposer {
    return this.#lieAboutEncryption(match, content);
  }

  /**
   * Handles the request, and sends each event in its response as changed by `change`: of rooms, and to devices. `change`
   * returns another event, or the same one. Unlike other faults, it also applies to requests that are running, such as
   * a long poll.
   */
  rewriteEvents(match: FaultMatch, change: ChangeEvent): Disposer {
    if (match.endpoint !== undefined) this.#actions.assertEndpoint(match.endpoint);
    const entry = { matcher: new FaultMatcher(match), change };
    this.#eventChanges.add(entry);
    return () => {
      this.#eventChanges.delete(entry);
    };
  }

  /** Names another user as the sender of encrypted events, as a homeserver that lies about them. */
  swapSender(match: FaultMatch, { from, to, eventId, toDevice = false }: SenderSwap): Disposer {
    const isMeant = (event: WireEvent): boolean =>
      event.type === 'm.room.encrypted' &&
      event.sender === from &&
      (event.event_id === undefined) === toDevice &&
      (eventId === undefined || event.event_id === eventId);
    return this.rewriteEvents(match, (event) => (isMeant(event) ? { ...event, sender: to } : event));
  }

  /**
   * Sends the content of an encrypted event again, under a new event id. Without `sender` the homeserver replays it;
   * with one, a member of the room does. Happens at once. @returns the id of the new event
   */
  replayEncrypted(options: EncryptedReplay): string {
    return this.#actions.replay(options);
  }

  /** Gives a device to-device messages that nobody has sent. Happens at once. */
  injectToDevice(messages: InjectedMessages): void {
    this.#actions.deliver(messages);
  }

  /**
   * Shows a device that the user does not have, or other keys for one that they have. It does not tell clients that the
   * user's devices have changed.
   */
  injectDevice(match: Omit<FaultMatch, 'endpoint'>, device: InjectedDevice): Disposer {
    const { userId, deviceId, deviceKeys, oneTimeKeys } = device;
    const add = (endpoint: string, section: string, value: object): Disposer =>
      this.rewrite({ ...match, endpoint }, (body) => withDevice(body, { userId, deviceId, section, value }));
    const disposers = [add('/keys/query', 'device_keys', deviceKeys)];
    if (oneTimeKeys) disposers.push(add('/keys/claim', 'one_time_keys', oneTimeKeys));
    return () => disposers.forEach((dispose) => dispose());
  }

  /** Ends the connection without handling the request. */
  drop(match: FaultMatch): Disposer {
    return this.#add(match, async () => {
      throw new ConnectionDropped();
    });
  }

  /** Handles the request, then ends the connection without a response. */
  dropAfter(match: FaultMatch): Disposer {
    return this.#add(match, async (_request, answer) => {
      await answer();
      throw new ConnectionDropped();
    });
  }

  /** Never responds. The request ends when the client aborts it or the homeserver closes. */
  hang(match: FaultMatch): Disposer {
    return this.#add(match, ({ signal }) => untilAborted(signal));
  }

  /** Responds to a sync at once, without events and with `since` as `next_batch`. A careless client polls in a loop. */
  sameNextBatch(match: FaultMatch): Disposer {
    return this.#add({ endpoint: '/sync', ...match }, async ({ query }, answer) => {
      const since = query.get('since');
      return since === null ? answer() : Response.json({ next_batch: since });
    });
  }

  /** Redirects the client to `location`. */
  redirect(match: FaultMatch, options: { status?: number; location: string }): Disposer {
    const { status = 302, location } = options;
    return this.#add(match, async () => new Response(null, { status, headers: { Location: location } }));
  }

  /** Ends every fault. */
  clear(): void {
    this.#faults.clear();
    this.#eventChanges.clear();
  }

  /** Handles a request with all faults that apply to it. */
  apply(request: ReceivedRequest, answer: Respond): Promise<Response> {
    const hits = [...this.#faults].filter(({ matcher }) => matcher.matches(request));
    return hits.reduceRight<Respond>(
      (next, { fault }) =>
        () =>
          fault(request, next),
      () => this.#withEventChanges(request, answer),
    )();
  }

  #lieAboutEncryption({ roomId, ...match }: EncryptionFaultMatch, content: JsonObject | undefined): Disposer {
    return this.#add(match, async ({ path }, answer) => tellLie({ roomId, content }, path, await answer()));
  }

  async #withEventChanges(request: ReceivedRequest, answer: Respond): Promise<Response> {
    const response = await answer();
    const changes = [...this.#eventChanges].filter(({ matcher }) => matcher.matches(request));
    if (changes.length === 0 || !response.headers.get('Content-Type')?.startsWith('application/json')) return response;
    let body: unknown = await response.json();
    for (const { change } of changes) body = changeEvents(body, change);
    return Response.json(body, { status: response.status });
  }

  #add(match: FaultMatch, fault: Fault): Disposer {
    if (match.endpoint !== undefined) this.#actions.assertEndpoint(match.endpoint);
    const entry = { matcher: new FaultMatcher(match), fault };
    this.#faults.add(entry);
    return () => {
      this.#faults.delete(entry);
    };
  }
}

function untilAborted(signal: AbortSignal): Promise<never> {
  return new Promise((_resolve, reject) => {
    const onAbort = (): void => reject(new ConnectionDropped());
    if (signal.aborted) onAbort();
    else signal.addEventListener('abort', onAbort, { once: true });
  });
}
