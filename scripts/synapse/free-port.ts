import { createServer, type AddressInfo } from 'node:net';

/** `wanted` if nobody listens on it on loopback, which is an error otherwise; without it any port that is free. */
export function freePort(wanted = 0): Promise<number> {
  return new Promise((resolve, reject) => {
    const probe = createServer();
    probe.on('error', (cause) => reject(new Error(`Port ${wanted} cannot be used: ${cause.message}`, { cause })));
    probe.listen(wanted, '127.0.0.1', () => {
      const { port } = probe.address() as AddressInfo;
      probe.close(() => resolve(port));
    });
  });
}
