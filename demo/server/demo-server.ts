import { createServer } from 'node:http';
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { MatrixClientManager } from 'matrix-client-manager';
import type { People } from '../seed/people.js';
import { ChatApi } from './chat-api.js';
import { answerOf, Refusal } from './failures.js';
import { securityHeaders } from './headers.js';
import { sendPageFile } from './page-files.js';
import { reply } from './reply.js';
import { assertSameOrigin } from './same-origin.js';

export interface DemoServerOptions {
  readonly manager: MatrixClientManager;
  readonly people: People;
  /** The homeserver, in words, for the page. */
  readonly description: string;
}

/** Only programs of this machine can reach the server: the page needs no password. */
const HOST = '127.0.0.1';

/** The HTTP server of the page: its files, and the API that they call. */
export class DemoServer {
  readonly #server: Server;
  readonly #api: ChatApi;

  constructor(options: DemoServerOptions) {
    this.#api = new ChatApi(options);
    this.#server = createServer((request, response) => {
      this.#handle(request, response).catch((error: unknown) => fail(request, response, error));
    });
  }

  /** Rejects if the port is in use. */
  listen(port: number): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#server.once('error', reject);
      this.#server.listen(port, HOST, () => {
        this.#server.off('error', reject);
        resolve();
      });
    });
  }

  get url(): string {
    return `http://${HOST}:${(this.#server.address() as AddressInfo).port}/`;
  }

  /** Ends the event streams at once. The page opens them again and misses nothing. */
  cutStreams(): void {
    this.#api.cutStreams();
  }

  /** Ends every stream and request. */
  async close(): Promise<void> {
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    await this.#api.close();
    this.#server.closeAllConnections();
    await closed;
  }

  async #handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    for (const [name, value] of Object.entries(securityHeaders)) response.setHeader(name, value);
    assertSameOrigin(request);
    const url = URL.parse(request.url ?? '/', `http://${HOST}`);
    if (!url) throw new Refusal(400, 'BAD_REQUEST');
    if (url.pathname.startsWith('/api/')) return this.#api.handle(request, response, url);
    if (request.method !== 'GET' && request.method !== 'HEAD') throw new Refusal(405, 'METHOD_NOT_ALLOWED');
    await sendPageFile(response, url.pathname);
  }
}

function fail(request: IncomingMessage, response: ServerResponse, error: unknown): void {
  // Nobody waits for an answer, or the client sees that the answer is not complete.
  if (response.headersSent || response.destroyed) {
    response.destroy();
    return;
  }
  const { status, body, retryAfterMs } = answerOf(error);
  if (retryAfterMs !== undefined) response.setHeader('retry-after', Math.ceil(retryAfterMs / 1000));
  if (!request.complete) response.setHeader('connection', 'close'); // the rest of the body is not read
  reply(response, status, body);
}
