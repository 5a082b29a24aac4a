import type { SecureContextOptions, TLSSocket } from 'node:tls';
import { Agent, buildConnector, Client, fetch as undiciFetch } from 'undici';
import type { RequestInit as UndiciRequestInit } from 'undici';
import * as v from 'valibot';
import { isError } from '../core/is-error.js';
import { checkOptions, flag, optionsOf, unchecked, wholeNumber } from '../core/validation.js';
import { libraryVersion } from '../core/version.js';
import { MAX_ERROR_BYTES } from '../http/read-text.js';
import type {
  HttpResponse,
  OpenTransport,
  Fetch,
  ConnectionPool,
  Transport,
  TransportRequest,
} from '../core/ports/transport.js';
import { decompress } from './decompress.js';
import { Exchange, PlainHeaders } from './exchange.js';
import { Pool } from './pool.js';

export interface UndiciTransportOptions {
  /** Whether to use HTTP/2 if the homeserver supports it, so that requests share a connection. Over TLS only. @default true */
  readonly http2?: boolean;
  /** Whether to accept compressed responses: less traffic, but more CPU time on both sides. @default false */
  readonly compression?: boolean;
  /** Maximum number of connections for calls other than long polls and admin calls. Further calls wait. @default 128 */
  readonly callConnections?: number;
  /** How long connecting may take, in milliseconds. @default 10_000 */
  readonly connectTimeoutMs?: number;
  /** A certificate authority that replaces Node's, and a client certificate. Verification cannot be turned off. */
  readonly tls?: Pick<SecureContextOptions, 'ca' | 'cert' | 'key' | 'passphrase'>;
}

type TlsOptions = NonNullable<UndiciTransportOptions['tls']>;

type CheckedOptions = Required<Omit<UndiciTransportOptions, 'tls'>> & Pick<UndiciTransportOptions, 'tls'>;

/** `tls` has no `rejectUnauthorized`, because verification cannot be turned off. */
const optionsSchema = optionsOf<CheckedOptions>({
  http2: v.optional(flag, true),
  compression: v.optional(flag, false),
  callConnections: v.nullish(wholeNumber(1), 128),
  connectTimeoutMs: v.nullish(wholeNumber(1), 10_000),
  tls: v.optional(
    optionsOf<TlsOptions>({ ca: unchecked(), cert: unchecked(), key: unchecked(), passphrase: unchecked() }),
  ),
});

/** Maximum number of concurrent requests on one HTTP/2 connection. The homeserver may allow fewer. */
const MAX_STREAMS = 100;

/**
 * Sends requests with undici's connection pools instead of the global fetch, with a fifth of the CPU time. Long polls,
 * admin calls and other calls have separate pools. Each manager opens its own connections and closes them at its shutdown,
 * so managers can share a transport. msw and other mocks of the global fetch do not see its requests. Throws
 * `INVALID_OPTIONS`.
 *
 * @example
 * const manager = new MatrixClientManager({ homeserverUrl, admin, transport: undiciTransport() });
 */
export function undiciTransport(options: UndiciTransportOptions = {}): Transport {
  const checked = checkOptions('undiciTransport()', optionsSchema, options);
  return { open: () => new UndiciConnections(checked) };
}

class UndiciConnections implements OpenTransport {
  readonly #pools: Readonly<Record<ConnectionPool, Pool>>;
  readonly #headers: Readonly<Record<string, string>>;
  /** Whether the newest connection uses HTTP/2, so that requests share it. */
  #usesHttp2 = false;

  constructor({ http2, compression, callConnections, connectTimeoutMs, tls }: CheckedOptions) {
    const connectSocket = buildConnector({
      allowH2: http2,
      timeout: connectTimeoutMs,
      ...tls,
      rejectUnauthorized: true, // overrides NODE_TLS_REJECT_UNAUTHORIZED
    });
    const connect: buildConnector.connector = (target, callback) =>
      connectSocket(target, (...outcome) => {
        const [, socket] = outcome;
        if (socket) this.#usesHttp2 = (socket as TLSSocket).alpnProtocol === 'h2';
        callback(...outcome);
      });
    const pool = (connections: number | null): Pool =>
      new Pool(() => {
        // Timeouts are set by the caller: a long poll may be idle for longer than undici's default timeouts.
        const agent = new Agent({ connect, connections, allowH2: http2, headersTimeout: 0, bodyTimeout: 0 });
        return agent.on('connect', (_origin, targets) => {
          // After a GOAWAY, which proxies send every 1,000 requests, undici limits the new connection to `pipelining`
          // requests minus those still running on the old one. With long polls that would block it for half a minute.
          const client = targets.at(-1);
          if (client instanceof Client) client.pipelining = this.#usesHttp2 ? MAX_STREAMS : 1;
        });
      });
    this.#pools = { poll: pool(null), admin: pool(null), call: pool(callConnections) };
    this.#headers = {
      accept: 'application/json',
      'user-agent': `matrix-client-manager/${libraryVersion}`,
      ...(compression && { 'accept-encoding': 'gzip' }),
    };
  }

  async send(request: TransportRequest): Promise<HttpResponse> {
    const { method, origin, path, body: sent, maxBytes, signal } = request;
    const pool = this.#pools[request.lane];
    const { agent } = pool;
    const exchange = new Exchange(request);
    if (!signal.aborted) {
      const headers = { ...this.#headers, ...request.headers };
      agent.dispatch({ method, origin, path, headers, ...(sent !== undefined && { body: sent }) }, exchange);
    }
    try {
      const { status, headers, body } = await exchange.response;
      const encoding = headers['content-encoding'];
      const decompressedBody =
        encoding === undefined ? body : await decompressed(status, body, String(encoding), maxBytes);
      return { status, headers: new PlainHeaders(headers), text: decodeText(decompressedBody) };
    } catch (error) {
      // The connection may be dead, which the system detects only after 15 minutes. All requests would share it until then.
      if (this.#usesHttp2 && isTimeout(error)) pool.replace(agent);
      throw error;
    }
  }

  readonly fetch: Fetch = async (input, init = {}) => {
    const { agent } = this.#pools.call;
    const { url, ...own } = input instanceof Request ? requestParts(input) : { url: input };
    const sent = { ...own, ...init, duplex: 'half', dispatcher: agent } as unknown as UndiciRequestInit;
    const response: unknown = await undiciFetch(url, sent);
    return response as Response; // undici's own Response class, which has everything that the SDK reads
  };

  async close(): Promise<void> {
    await Promise.all(Object.values(this.#pools).map((pool) => pool.close()));
  }
}

/** Converts a global `Request`, which undici's fetch does not accept. */
function requestParts({ url, method, headers, body, signal }: Request): { readonly url: string } & RequestInit {
  return { url, method, headers, body, signal };
}

/** The decompressed body. Empty for an error response that cannot be decompressed, because its status suffices. */
async function decompressed(status: number, body: Buffer, encoding: string, maxBytes: number): Promise<Buffer> {
  if (status < 300) return decompress(body, encoding, maxBytes);
  return decompress(body, encoding, MAX_ERROR_BYTES).catch(() => Buffer.alloc(0));
}

/** Decodes UTF-8 without the byte order mark, like `Response.text()`. */
function decodeText(body: Buffer): string {
  const hasMark = body[0] === 0xef && body[1] === 0xbb && body[2] === 0xbf;
  return body.toString('utf8', hasMark ? 3 : 0);
}

function isTimeout(error: unknown): boolean {
  return isError(error) && error.name === 'TimeoutError';
}
