import type { IncomingMessage, ServerResponse } from 'node:http';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { ReadableStream } from 'node:stream/web';
import type { EventContent, MatrixClientManager } from 'matrix-client-manager';
import type { Person } from '../seed/people.js';
import { Refusal } from './failures.js';
import { reply } from './reply.js';

const MAX_FILE_BYTES = 20 * 1024 * 1024;
const MAX_PIXELS = 100_000;

/** Kinds that a browser shows, and that cannot contain scripts. Everything else is downloaded. */
const shownTypes: ReadonlySet<string> = new Set(['image/avif', 'image/gif', 'image/jpeg', 'image/png', 'image/webp']);

interface FileRequest {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly url: URL;
  readonly person: Person;
  readonly roomId: string;
  readonly rest: string | undefined;
  readonly signal: AbortSignal;
}

/** Sends the body of the request to the room as a file; its name is in the header `x-file-name`, percent-encoded. */
export async function receiveFile(manager: MatrixClientManager, asked: FileRequest): Promise<void> {
  const { request, response, url, person, roomId, signal } = asked;
  const size = Number(request.headers['content-length']);
  if (!Number.isSafeInteger(size)) throw new Refusal(411, 'LENGTH_REQUIRED');
  if (size > MAX_FILE_BYTES) throw new Refusal(413, 'FILE_TOO_LARGE');
  const name = fileName(request.headers['x-file-name']);
  const mimeType = request.headers['content-type'] ?? 'application/octet-stream';
  const [w, h] = [pixels(url, 'width'), pixels(url, 'height')];
  const info = w !== undefined && h !== undefined && { info: { w, h } };
  const txnId = url.searchParams.get('txnId') ?? undefined;
  // The library closes the stream after a failure. The request stays open, so that it can be answered.
  const body = Readable.from(request.iterator({ destroyOnReturn: false }), { objectMode: false });
  const file = { body, name, mimeType, size, ...info };
  const { eventId } = await manager.sendFile({ userId: person.userId, roomId, file, txnId, signal });
  reply(response, 201, { eventId });
}

/** Answers with the file of a message. */
export async function sendStoredFile(manager: MatrixClientManager, asked: FileRequest): Promise<void> {
  const { response, person, roomId, rest: eventId = '', signal } = asked;
  const { userId } = person;
  const path = '/_matrix/client/v3/rooms/{roomId}/event/{eventId}';
  const event = await manager.request({ userId, method: 'GET', path, pathParams: { roomId, eventId }, signal });
  const content = (event as { content?: EventContent } | undefined)?.content ?? {};
  const file = await manager.downloadFile({ userId, roomId, content, maxBytes: MAX_FILE_BYTES, signal });
  const isShown = shownTypes.has(file.mimeType);
  response.writeHead(200, {
    'content-type': isShown ? file.mimeType : 'application/octet-stream',
    'content-disposition': `${isShown ? 'inline' : 'attachment'}; filename*=UTF-8''${encodeName(file.name)}`,
    // Whatever the file contains, no script of it runs.
    'content-security-policy': "default-src 'none'; sandbox",
    'cache-control': 'private, max-age=3600',
  });
  await pipeline(Readable.fromWeb(file.stream as ReadableStream), response);
}

function fileName(header: string | string[] | undefined): string {
  if (typeof header !== 'string') throw new Refusal(400, 'BAD_REQUEST'); // the page always sends it, a form cannot
  try {
    return (
      decodeURIComponent(header)
        .replaceAll(/\p{Cc}/gu, '')
        .slice(0, 200) || 'file'
    );
  } catch {
    throw new Refusal(400, 'BAD_REQUEST');
  }
}

/** @see https://www.rfc-editor.org/rfc/rfc8187#section-3.2 */
function encodeName(name: string): string {
  return encodeURIComponent(name.toWellFormed()).replaceAll(/['()*]/g, (char) => `%${char.charCodeAt(0).toString(16)}`);
}

function pixels(url: URL, name: string): number | undefined {
  const value = Number(url.searchParams.get(name) ?? Number.NaN);
  return Number.isInteger(value) && value > 0 && value <= MAX_PIXELS ? value : undefined;
}
