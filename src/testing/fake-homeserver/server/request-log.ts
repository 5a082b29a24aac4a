import type { ReceivedRequest } from './received-request.js';

/** A request that the homeserver received, without tokens and passwords. */
export interface LoggedRequest {
  readonly method: string;
  /** The path without the query. */
  readonly path: string;
  /** The query without the access token. */
  readonly query: Readonly<Record<string, string>>;
  /** Template of the path, such as `/rooms/{roomId}/messages`; undefined if no endpoint serves it. */
  readonly endpoint: string | undefined;
  /** The user of the access token; undefined without a valid token. */
  readonly userId: string | undefined;
  /** The JSON body with secrets replaced by `[hidden]`; undefined without a JSON body. */
  readonly body: unknown;
  /** When the request arrived, in milliseconds since the Unix epoch. */
  readonly at: number;
  /** Status of the response; undefined while the request runs, 0 if the connection ended without a response. */
  status: number | undefined;
}

const SECRET_KEYS = new Set(['password', 'new_password', 'refresh_token', 'access_token', 'token']);

/** Logs requests and counts the running ones. */
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
