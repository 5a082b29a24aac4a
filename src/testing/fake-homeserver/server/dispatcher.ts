import type { Context } from 'hono';
import { Hono } from 'hono';
import { MatrixError, unrecognized } from '../matrix-error.js';
import { sendEvent } from '../rooms/send-event.js';
import type { World } from '../world/world.js';
import { ConnectionDropped } from './connection-dropped.js';
import type { Endpoint } from './endpoint.js';
import { EndpointRequest, Reply } from './endpoint.js';
import { Faults } from './faults.js';
import type { JsonObject } from '../json.js';
import type { EncryptedReplay } from './faults.js';
import type { LoggedRequest } from './request-log.js';
import type { ReceivedRequest } from './received-request.js';
import { RequestLog } from './request-log.js';

export interface UnhandledRequest {
  readonly method: string;
  readonly path: string;
}

/** Whether a request that no endpoint serves throws, or gets 404 and is recorded. */
export type OnUnhandled = 'throw' | 'record';

interface Env {
  Bindings: { onUnhandled: OnUnhandled };
}

/** Routes requests through the faults to the endpoints, and logs them. */
export class Dispatcher {
  readonly log = new RequestLog();
  readonly faults: Faults;
  /** Requests that no endpoint serves. */
  readonly unhandled: UnhandledRequest[] = [];
  readonly #world: World;
  readonly #app: Hono<Env>;
  readonly #templates: ReadonlySet<string>;
  readonly #active = new Set<AbortController>();

  constructor(world: World, endpoints: readonly Endpoint[]) {
    this.#world = world;
    this.#templates = new Set(endpoints.map(({ path }) => path));
    const assertEndpoint = this.assertEndpoint.bind(this);
    this.faults = new Faults(world.clock, {
      assertEndpoint,
      replay: (replay) => replayEncrypted(world, replay),
      deliver: ({ userId, deviceId, events }) => {
        for (const event of events)
          world.inboxes.add(userId, deviceId, world.stream.next(), structuredClone(event) as JsonObject);
        world.waiters.wake(userId);
      },
    });
    this.#app = this.#createApp(endpoints);
  }

  /**
   * Responds to a request. Rejects with `ConnectionDropped` if the connection ends without a response.
   * @param onUnhandled - whether a request that no endpoint serves rejects or gets 404
   */
  async fetch(request: Request, onUnhandled: OnUnhandled): Promise<Response> {
    return this.#app.fetch(request, { onUnhandled });
  }

  /** Throws if no endpoint has that path template, so that a misspelled template is noticed. */
  assertEndpoint(template: string): void {
    if (this.#templates.has(template)) return;
    const known = [...this.#templates].toSorted().join('\n  ');
    throw new Error(
      `expected the path template of an endpoint, got ${JSON.stringify(template)}; the templates are:\n  ${known}`,
    );
  }

  /** Ends all running requests, as if their connections broke. */
  dropAll(): void {
    for (const connection of this.#active) connection.abort(new ConnectionDropped());
  }

  #createApp(endpoints: readonly Endpoint[]): Hono<Env> {
    const app = new Hono<Env>();
    app.onError((error) => {
      throw error;
    });
    const paths = new Set<string>();
    for (const endpoint of endpoints) {
      for (const path of honoPaths(endpoint.path)) {
        paths.add(path);
        app.on(endpoint.method, path, ({ req }) =>
          this.#respond(req.raw, endpoint.path, (target) =>
            handle(endpoint, new EndpointRequest(this.#world, req.param(), target)),
          ),
        );
      }
    }
    const refuse = (status: 404 | 405) => (context: Context<Env>) =>
      this.#respond(context.req.raw, undefined, (target) =>
        this.#respondUnhandled(target, status, context.env.onUnhandled),
      );
    for (const path of paths) app.all(path, refuse(405));
    app.notFound(refuse(404));
    return app;
  }

  /** Responds through the faults, and logs the request. @param template - undefined if no endpoint serves it */
  async #respond(
    request: Request,
    template: string | undefined,
    answer: (received: ReceivedRequest) => Promise<Response>,
  ): Promise<Response> {
    const { pathname: path, searchParams: query } = new URL(request.url);
    const { method } = request;
    const accessToken = tokenOf(request, query);
    const bytes = new Uint8Array(await request.arrayBuffer());
    const { headers } = request;
    const body = new TextDecoder().decode(bytes);
    const userId = accessToken === undefined ? undefined : this.#world.sessions.peek(accessToken)?.userId;
    const connection = this.#openConnection(request.signal);
    const { signal } = connection;
    const received = { method, path, endpoint: template, userId, query, signal, accessToken, body, bytes, headers };
    const entry = this.log.start(received, this.#world.clock.now());
    try {
      return await this.#logStatus(
        entry,
        signal,
        this.faults.apply(received, () => answer(received)),
      );
    } finally {
      this.#active.delete(connection);
    }
  }

  /** Creates a controller that aborts when the client disconnects or the homeserver drops the connection. */
  #openConnection(clientSignal: AbortSignal): AbortController {
    const connection = new AbortController();
    this.#active.add(connection);
    const leave = (): void => connection.abort(clientSignal.reason);
    if (clientSignal.aborted) leave();
    else clientSignal.addEventListener('abort', leave, { once: true, signal: connection.signal });
    return connection;
  }

  async #logStatus(entry: LoggedRequest, signal: AbortSignal, answering: Promise<Response>): Promise<Response> {
    let status = 0;
    try {
      const response = await answering;
      if (signal.aborted) throw new ConnectionDropped();
      status = response.status;
      return response;
    } catch (error) {
      // an aborted request gets no response, even if the endpoint failed
      throw signal.aborted ? new ConnectionDropped() : error;
    } finally {
      this.log.end(entry, status);
    }
  }

  async #respondUnhandled(
    { method, path }: ReceivedRequest,
    status: 404 | 405,
    onUnhandled: OnUnhandled,
  ): Promise<Response> {
    this.unhandled.push({ method, path });
    if (onUnhandled === 'record') return Response.json(unrecognized(status).body, { status });
    throw new Error(
      `FakeHomeserver does not serve ${method} ${path}; for a 404 as from a real homeserver, pass onUnhandled: 'record'`,
    );
  }
}

async function handle(endpoint: Endpoint, request: EndpointRequest): Promise<Response> {
  try {
    if (endpoint.auth !== 'none') authorize(endpoint, request);
    const result = await endpoint.handle(request);
    if (result instanceof Response) return result;
    return result instanceof Reply ? Response.json(result.body, { status: result.status }) : Response.json(result);
  } catch (error) {
    if (!(error instanceof MatrixError)) throw error;
    const wait = error.extra['retry_after_ms'];
    const headers = typeof wait === 'number' ? { 'Retry-After': String(Math.ceil(wait / 1000)) } : {};
    return Response.json(error.body, { status: error.status, headers });
  }
}

function authorize(endpoint: Endpoint, { user, session, world }: EndpointRequest): void {
  const device = user.devices.get(session.deviceId ?? '');
  if (device) device.lastSeenAt = world.clock.now();
  if (user.locked && !endpoint.path.startsWith('/logout')) {
    throw new MatrixError(401, 'M_USER_LOCKED', 'User account has been locked', { soft_logout: true });
  }
  if (endpoint.auth === 'admin' && !user.admin) throw new MatrixError(403, 'M_FORBIDDEN', 'You are not a server admin');
}

function tokenOf(request: Request, query: URLSearchParams): string | undefined {
  const header = request.headers.get('authorization');
  return header?.startsWith('Bearer ') ? header.slice('Bearer '.length) : (query.get('access_token') ?? undefined);
}

/** Converts an endpoint's template to the paths that serve it, in Hono's syntax. */
function honoPaths(template: string): string[] {
  const path = template.replaceAll(/\{(\w+)\}/g, ':$1');
  if (path.startsWith('/_')) return [path];
  return [`/_matrix/client/:release{r0|v3}${path}`];
}

function replayEncrypted(world: World, { roomId, eventId, sender, intoRoomId = roomId }: EncryptedReplay): string {
  const event = world.rooms.get(roomId)?.events.find((known) => known.eventId === eventId);
  const room = world.rooms.get(intoRoomId);
  if (event?.type !== 'm.room.encrypted' || !room) {
    throw new Error(
      `expected an encrypted event and rooms of this homeserver, got ${eventId}, ${roomId}, ${intoRoomId}`,
    );
  }
  const { type, content } = event;
  return sendEvent(world, room, { type, sender: sender ?? event.sender, content: structuredClone(content) }).eventId;
}
