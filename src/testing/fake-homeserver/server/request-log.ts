import type { ReceivedRequest } from './received-request.js';

/** A request that the homeserver received. It holds no token and no password. */
export interface LoggedRequest {
  readonly method: string;
  /** Without query. */
  readonly path: string;
  /** The query without the access token. */
  readonly query: Readonly<Record<string, string>>;
  /** Template of the path, such as `/rooms/{roomId}/messages`; undefined when no endpoint serves it. */
  readonly endpoint: string | undefined;
  /** Whose token it carried; undefined without one, or with a dead one. */
  readonly userId: string | undefined;
  /** The JSON body with secrets blanked; undefined when there was none. */
  readonly body: unknown;
  /** When it came, in milliseconds since the Unix epoch. */
  readonly at: number;
  /** Status of the answer; undefined while it is outstanding, 0 when the connection ended without one. */
  status: number | undefined;
}

const SECRET_KEYS = new Set(['password', 'new_password', 'refresh_token', 'access_token', 'token']);

/** Every request since the start, or since `clear`. */
export class RequestLog {
  entries: LoggedRequest[] = [];
  inFlight = 0;

  start({ method, path, endpoint, userId, ...request }: ReceivedRequest, at: number): LoggedRequest {
    const { access_token: _, ...query } = Object.fromEntries(request.query);
    const body = withoutSecrets(request.body);
    const entry: LoggedRequest = { method, path, query, endpoint, userId, body, at, status: undefined };
    this.entries.push(entry);
    this.inFlight++;
    return entry;
  }

  end(entry: LoggedRequest, status: number): void {
    entry.status = status;
    this.inFlight--;
  }
}

function withoutSecrets(bodyText: string): unknown {
  if (bodyText === '') return undefined;
  try {
    return JSON.parse(bodyText, (key, value: unknown) =>
      SECRET_KEYS.has(key) && typeof value === 'string' ? '[hidden]' : value,
    );
  } catch {
    return undefined;
  }
}
