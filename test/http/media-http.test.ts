import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { describe, expect, onTestFinished, test } from 'vitest';
import { systemClock } from '../../src/core/clock.js';
import { MatrixClientManagerError } from '../../src/core/errors.js';
import { fetchTransport, globalFetch } from '../../src/http/fetch-transport.js';
import { MediaHttp } from '../../src/http/media-http.js';
import { Session } from '../../src/http/session.js';
import type { Transport } from '../../src/core/ports/transport.js';
import { undiciTransport } from '../../src/undici/index.js';
import { testHomeserver } from '../support/context.js';

const MIB = 1_048_576;
setFlagsFromString('--expose-gc');
const collectGarbage = runInNewContext('gc') as () => void;

/** A homeserver that takes what comes and gives as much; `renewed` is the only token that it knows. */
async function mediaOn(transport: Transport, onRequest: (token: string | undefined) => number = () => 200) {
  const server = createServer((request, response) => {
    const status = onRequest(request.headers.authorization);
    let bytes = 0;
    request.on('data', (chunk: Buffer) => (bytes += chunk.byteLength));
    request.on('end', () => {
      response.writeHead(status, { 'content-type': 'application/json' });
      response.end(JSON.stringify(status === 200 ? { bytes } : { errcode: 'M_UNKNOWN_TOKEN', error: 'dead' }));
    });
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const connections = transport.open();
  onTestFinished(async () => {
    await connections.close();
    server.closeAllConnections();
    server.close();
  });
  const homeserverUrl = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const media = new MediaHttp(
    testHomeserver({ homeserverUrl, connections, clock: systemClock, requestTimeoutMs: 30_000 }),
  );
  const upload = async (body: () => AsyncIterable<Uint8Array>, size: number, repeatable: boolean): Promise<string> => {
    const answer = await media.request({
      operation: 'uploading a file',
      method: 'POST',
      path: '/upload',
      headers: { 'content-length': String(size) },
      session,
      body,
      repeatable,
      signal: new AbortController().signal,
    });
    let text = '';
    for await (const chunk of answer.body) text += Buffer.from(chunk).toString();
    return text;
  };
  const dead = { userId: '@a:x', deviceId: 'D', accessToken: 'dead' };
  const session = new Session('@a:x', dead, async () => ({ ...dead, accessToken: 'renewed' }));
  const download = async (): Promise<AsyncIterable<Uint8Array>> => {
    const { signal } = new AbortController();
    const file = { operation: 'downloading a file', method: 'GET', path: '/file', session, signal } as const;
    return (await media.request(file)).body;
  };
  return { upload, download };
}

describe.each([
  ['the global fetch', () => fetchTransport(globalFetch)],
  ['undici', () => undiciTransport()],
])('media over %s', (_name, transport) => {
  test('flow: 64 MiB take no more memory than the buffers on the way', async () => {
    const { upload } = await mediaOn(transport());
    const block = randomBytes(65_536);
    let most = 0;
    const body = async function* (): AsyncGenerator<Uint8Array> {
      for (let sent = 0; sent < 64 * MIB; sent += block.byteLength) {
        if (sent % (8 * MIB) === 0) {
          collectGarbage();
          most = Math.max(most, process.memoryUsage().arrayBuffers);
        }
        yield Buffer.from(block); // a copy, so that who keeps it is seen
      }
    };
    collectGarbage();
    const before = process.memoryUsage().arrayBuffers;
    expect(JSON.parse(await upload(body, 64 * MIB, false))).toEqual({ bytes: 64 * MIB });
    expect(most - before).toBeLessThan(32 * MIB);
  });

  test('come whole when they are read late: no collection of garbage makes them empty', async () => {
    const { download } = await mediaOn(transport());
    const bodies = await Promise.all(Array.from({ length: 10 }, download));
    for (let turn = 0; turn < 20; turn++) {
      collectGarbage();
      await new Promise((resolve) => setImmediate(resolve));
    }
    for (const body of bodies) {
      let text = '';
      for await (const chunk of body) text += Buffer.from(chunk).toString();
      expect(JSON.parse(text)).toEqual({ bytes: 0 });
    }
  });

  test('renew a dead token, and repeat what can be repeated', async () => {
    const { upload } = await mediaOn(transport(), (token) => (token === 'Bearer renewed' ? 200 : 401));
    const body = async function* (): AsyncGenerator<Uint8Array> {
      yield randomBytes(10);
    };
    await expect(upload(body, 10, false)).rejects.toMatchObject({ code: 'UNKNOWN_TOKEN' });
    expect(JSON.parse(await upload(body, 10, false))).toEqual({ bytes: 10 });
    const other = await mediaOn(transport(), (token) => (token === 'Bearer renewed' ? 200 : 401));
    expect(JSON.parse(await other.upload(body, 10, true))).toEqual({ bytes: 10 });
  });

  test('fail with what the body fails with', async () => {
    const { upload } = await mediaOn(transport());
    const body = async function* (): AsyncGenerator<Uint8Array> {
      yield randomBytes(10);
      throw new MatrixClientManagerError('FILE_DAMAGED', 'the disk is gone');
    };
    await expect(upload(body, 20, false)).rejects.toMatchObject({ code: 'FILE_DAMAGED' });
  });
});
