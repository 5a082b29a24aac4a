import { Hono } from 'hono';
import { MatrixError, unrecognized } from '../matrix-error.js';
import type { World } from '../world/world.js';
import { ConnectionDropped } from './connection-dropped.js';
import type { Endpoint } from './endpoint.js';
import { EndpointRequest, Reply } from './endpoint.js';
import { Faults } from './faults.js';
import type { LoggedRequest } from './request-log.js';
import { RequestLog } from './request-log.js';

export interface UnhandledRequest {
  readonly method: string;
  readonly path: string;
}

/** Routes requests to endpoints, through the faults, and keeps the log. */
export class Dispatcher {
  readonly log = new RequestLog();
  readonly faults: Faults;
  /** Requests that no endpoint serves. */
  readonly unhandled: UnhandledRequest[] = [];
  readonly #world: World;
  readonly #app: Hono;
  readonly #templates: ReadonlySet<string>;
  readonly #active = new Set<AbortController>();

  constructor(world: World, endpoints: readonly Endpoint[]) {
    this.#world = world;
    this.#templates = new Set(endpoints.map(({ path }) => path));
    this.faults = new Faults(world.clock, (endpoint) => this.assertEndpoint(endpoint));
    this.#app = this.#route(endpoints);
  }

  /** Answers a request; rejects with `ConnectionDropped` where the connection would end without an answer. */
  async fetch(request: Request): Promise<Response> {
    return this.#app.fetch(request);
  }

  /** Throws unless there is an endpoint with that path template, so that a slip does not pass for silence. */
  assertEndpoint(template: string): void {
    if (this.#templates.has(template)) return;
    const known = [...this.#templates].toSorted().join('\n  ');
    throw new Error(
      `expected the path template of an endpoint, got ${JSON.stringify(template)}; there are:\n  ${known}`,
    );
  }

  /** Ends every request that is being answered, as if all connections broke. */
  dropAll(): void {
    for (const connection of this.#active) connection.abort(new ConnectionDropped());
  }

  #route(endpoints: readonly Endpoint[]): Hono {
    const app = new Hono();
    app.onError((error) => {
      throw error;
    });
    const paths = new Set<string>();
    for (const endpoint of endpoints) {
      for (const path of honoPaths(endpoint.path)) {
        paths.add(path);
        app.on(endpoint.method, path, (context) => this.#answer(context.req.raw, endpoint, context.req.param()));
      }
    }
    for (const path of paths) app.all(path, (context) => this.#answer(context.req.raw, 405));
    app.notFound((context) => this.#answer(context.req.raw, 404));
    return app;
  }

  async #answer(request: Request, endpoint: Endpoint | 404 | 405, params: Record<string, string> = {}) {
    const { pathname: path, searchParams: query } = new URL(request.url);
    const { method } = request;
    const accessToken = tokenOf(request, query);
    const bodyText = await request.text();
    const userId = accessToken === undefined ? undefined : this.#world.sessions.peek(accessToken)?.userId;
    const template = typeof endpoint === 'number' ? undefined : endpoint.path;
    const at = this.#world.clock.now();
    const entry = this.log.start({ method, path, endpoint: template, userId, at }, bodyText, query);
    const connection = this.#open(request.signal);
    const { signal } = connection;
    const target = { method, path, endpoint: template, userId, query, signal };
    const run = async (): Promise<Response> => {
      if (typeof endpoint === 'number') return this.#refuse(method, path, endpoint);
      return handle(endpoint, new EndpointRequest(this.#world, params, query, signal, accessToken, bodyText, path));
    };
    try {
      return await this.#logged(entry, signal, this.faults.apply(target, run));
    } finally {
      this.#active.delete(connection);
    }
  }

  /** Something to abort the request by, when its client leaves or the homeserver drops it. */
  #open(clientSignal: AbortSignal): AbortController {
    const connection = new AbortController();
    this.#active.add(connection);
    const leave = (): void => connection.abort(clientSignal.reason);
    if (clientSignal.aborted) leave();
    else clientSignal.addEventListener('abort', leave, { once: true, signal: connection.signal });
    return connection;
  }

  async #logged(entry: LoggedRequest, signal: AbortSignal, answering: Promise<Response>): Promise<Response> {
    let status = 0;
    try {
      const response = await answering;
      if (signal.aborted) throw new ConnectionDropped();
      status = response.status;
      return response;
    } catch (error) {
      // whatever was going on, an aborted request has no answer
      throw signal.aborted ? new ConnectionDropped() : error;
    } finally {
      this.log.end(entry, status);
    }
  }

  #refuse(method: string, path: string, status: 404 | 405): Response {
    this.unhandled.push({ method, path });
    const error = unrecognized(status);
    return Response.json(error.body, { status });
  }
}

async function handle(endpoint: Endpoint, request: EndpointRequest): Promise<Response> {
  try {
    if (endpoint.auth !== 'none') authorize(endpoint, request);
    const result = await endpoint.handle(request);
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

/** Where an endpoint's template is served, in Hono's notation. */
function honoPaths(template: string): string[] {
  const path = template.replaceAll(/\{(\w+)\}/g, ':$1');
  if (path.startsWith('/_')) return [path];
  return [`/_matrix/client/:release{r0|v3}${path}`];
}
