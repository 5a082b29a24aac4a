import type { Server, ServerResponse } from 'node:http';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { ConnectionDropped } from './connection-dropped.js';
import { CutResponse } from './cut-response.js';

type Respond = (request: Request) => Promise<Response>;

/** Serves the fake homeserver on a port of the loopback interface. */
export class NodeServer {
  readonly #server: Server;

  private constructor(server: Server) {
    this.#server = server;
  }

  /** @param port - 0 for any free port */
  static async listen(answer: Respond, port: number): Promise<NodeServer> {
    const { getRequestListener } = await import('@hono/node-server');
    const listener = getRequestListener(
      async (request, { incoming, outgoing }) => {
        try {
          const response = await answer(request);
          if (!(response instanceof CutResponse)) return response;
          const half = outgoing as ServerResponse; // the server is HTTP/1.1 only
          half.writeHead(response.status, Object.fromEntries(response.headers));
          half.write(response.half, () => half.destroy());
          return alreadySent();
        } catch (error) {
          if (!(error instanceof ConnectionDropped)) throw error;
          incoming.socket?.destroy();
          outgoing.destroy();
          return alreadySent();
        }
      },
      { overrideGlobalObjects: false },
    );
    const server = createServer((incoming, outgoing) => void listener(incoming, outgoing));
    // Long polls keep connections open longer than Node's defaults allow.
    server.keepAliveTimeout = 120_000;
    server.requestTimeout = 0;
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(port, '127.0.0.1', resolve);
    });
    return new NodeServer(server);
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  /** Breaks all connections. New ones are accepted. */
  dropConnections(): void {
    this.#server.closeAllConnections();
  }

  async close(): Promise<void> {
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    this.#server.closeAllConnections();
    await closed;
  }
}

function alreadySent(): Response {
  return new Response(null, { headers: { 'x-hono-already-sent': 'true' } });
}
