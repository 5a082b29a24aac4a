import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http';
import { createSecureServer } from 'node:http2';
import type { Http2ServerRequest, Http2ServerResponse, Http2Session, SecureServerOptions } from 'node:http2';
import { createServer as createHttpsServer } from 'node:https';
import type { AddressInfo, Server, Socket } from 'node:net';

const file = (name: string): string => readFileSync(new URL(`../undici/tls/${name}`, import.meta.url), 'utf8');

/** A certificate for localhost and 127.0.0.1 that signs itself. */
export const certificate = { cert: file('cert.pem'), key: file('key.pem') };

type Handler = (
  request: IncomingMessage | Http2ServerRequest,
  response: (ServerResponse | Http2ServerResponse) & ServerResponse,
) => void;

/** A server on a port of its own, over plain HTTP, or over TLS with HTTP/2 and HTTP/1.1. */
export class TransportServer implements AsyncDisposable {
  /** HTTP/2 sessions that are open. */
  readonly sessions = new Set<Http2Session>();
  /** Sockets that are open. */
  readonly sockets = new Set<Socket>();
  /** How many connections were made. */
  connections = 0;
  readonly #server: Server;
  readonly #protocol: string;
  #port = 0;

  private constructor(server: Server, protocol: string) {
    this.#server = server;
    this.#protocol = protocol;
    server.on(protocol === 'https' ? 'secureConnection' : 'connection', (socket: Socket) => {
      this.connections++;
      this.sockets.add(socket);
      socket.on('close', () => this.sockets.delete(socket)).on('error', () => {});
    });
    server.on('session', (session: Http2Session) => {
      this.sessions.add(session);
      session.on('close', () => this.sessions.delete(session)).on('error', () => {});
    });
  }

  static async plain(handler: Handler): Promise<TransportServer> {
    return new TransportServer(createServer(handler as RequestListener), 'http').listen();
  }

  static async secure(handler: Handler, options: SecureServerOptions = {}): Promise<TransportServer> {
    const server = createSecureServer({ ...certificate, allowHTTP1: true, ...options }, handler as never);
    return new TransportServer(server, 'https').listen();
  }

  /** Over TLS with HTTP/1.1 only. */
  static async secureHttp1(handler: Handler): Promise<TransportServer> {
    return new TransportServer(createHttpsServer(certificate, handler as RequestListener), 'https').listen();
  }

  get origin(): string {
    return `${this.#protocol}://127.0.0.1:${this.#port}`;
  }

  async listen(): Promise<this> {
    this.#server.listen(this.#port, '127.0.0.1');
    await once(this.#server, 'listening');
    this.#port = (this.#server.address() as AddressInfo).port;
    return this;
  }

  /** Takes no connection any more and ends those there are. */
  async stop(): Promise<void> {
    const closed = new Promise((resolve) => this.#server.close(resolve));
    for (const session of this.sessions) session.destroy();
    for (const socket of this.sockets) socket.destroy();
    await closed;
  }

  /** Resolves when `condition` holds. The test's time limit is the bound, and until then the event loop is idle. */
  async until(condition: () => boolean): Promise<void> {
    while (!condition()) await new Promise((resolve) => setTimeout(resolve, 1));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#server.listening) await this.stop();
  }
}
