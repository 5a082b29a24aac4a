import { orTimeout } from '../core/abort.js';
import type { Clock } from '../core/clock.js';
import { MatrixClientManagerError } from '../core/errors.js';
import { describe } from '../core/ids.js';
import { isError } from '../core/is-error.js';

/** The bytes of a file: all at once, or as they come. */
export type FileBody = Uint8Array | ReadableStream<Uint8Array> | AsyncIterable<Uint8Array>;

const CHUNK_BYTES = 65_536;

export interface SizedBody {
  readonly size: number;
  /** Whether `chunks()` can be read more than once. */
  readonly repeatable: boolean;
  /** Throws `INVALID_OPTIONS` where it turns out to have another size, and what the body fails with. */
  readonly chunks: () => AsyncIterable<Uint8Array>;
}

/** How long the caller's stream may take for one chunk. */
export interface BodyBounds {
  readonly clock: Clock;
  /** In milliseconds. */
  readonly timeoutMs: number;
}

/**
 * The body with its size, which a homeserver wants to know first. One that comes without is read into memory.
 * Throws `FILE_TOO_LARGE` when it is larger than `maxBytes`.
 */
export async function sizedBody(
  body: FileBody,
  size: number | undefined,
  maxBytes: number,
  bounds: BodyBounds,
): Promise<SizedBody> {
  if (size !== undefined && size > maxBytes) throw fileTooLarge(size, maxBytes);
  if (body instanceof Uint8Array) {
    if (size !== undefined && size !== body.byteLength) throw wrongSize(size, body.byteLength);
    if (body.byteLength > maxBytes) throw fileTooLarge(body.byteLength, maxBytes);
    return { size: body.byteLength, repeatable: true, chunks: () => piecesOf(body) };
  }
  if (typeof (body as Partial<AsyncIterable<unknown>> | null)?.[Symbol.asyncIterator] !== 'function') {
    const message = `expected \`file.body\` to be a Uint8Array, a stream or an async iterable, got ${describe(body)}`;
    throw new MatrixClientManagerError('INVALID_OPTIONS', message);
  }
  const stream = readable(body as AsyncIterable<Uint8Array>, bounds);
  if (size !== undefined) return { size, repeatable: false, chunks: () => exactly(stream, size) };
  const whole = await collect(stream, maxBytes);
  return { size: whole.byteLength, repeatable: true, chunks: () => piecesOf(whole) };
}

/**
 * The caller's stream, whose failures are the caller's and not the network's. `TIMEOUT` where nothing comes of it for
 * as long as a request may take.
 */
async function* readable(
  stream: AsyncIterable<Uint8Array>,
  { clock, timeoutMs }: BodyBounds,
): AsyncGenerator<Uint8Array> {
  const message = `\`file.body\` could not be read: nothing came of it within ${timeoutMs} ms`;
  const late = new MatrixClientManagerError('TIMEOUT', message);
  const bounded = <T>(step: () => T | Promise<T>): Promise<T> =>
    orTimeout((async () => step())(), clock, timeoutMs, () => late);
  let iterator: AsyncIterator<unknown> | undefined;
  try {
    iterator = stream[Symbol.asyncIterator]();
    for (;;) {
      const current = iterator;
      const { done, value } = await bounded(() => current.next());
      if (done) {
        iterator = undefined;
        return;
      }
      if (!(value instanceof Uint8Array)) throw new TypeError(`expected chunks of bytes, got ${describe(value)}`);
      yield value;
    }
  } catch (cause) {
    if (cause === late) {
      void (async () => iterator?.return?.())().catch(() => {}); // it waits behind the step that hangs
      iterator = undefined;
      throw late;
    }
    const said = isError(cause) ? cause.message : describe(cause);
    throw new MatrixClientManagerError('INVALID_OPTIONS', `\`file.body\` could not be read: ${said}`, { cause });
  } finally {
    await bounded(() => iterator?.return?.()).catch(() => {});
  }
}

/** Closes a stream, read or not: what nobody reads any more would keep its file or connection open. Never throws. */
export function closeBody(body: unknown): void {
  const { destroy, cancel, return: end } = (body ?? {}) as Partial<Record<'destroy' | 'cancel' | 'return', unknown>>;
  // Of a Node stream, a web stream, a generator. One that is being read is closed by its reader.
  const close = [destroy, cancel, end].find((one) => typeof one === 'function') as (() => unknown) | undefined;
  void (async () => close?.call(body))().catch(() => {});
}

/** All of it in memory. Throws `FILE_TOO_LARGE` beyond `maxBytes`. */
export async function collect(stream: AsyncIterable<Uint8Array>, maxBytes: number): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of limited(stream, maxBytes)) chunks.push(chunk);
  return Buffer.concat(chunks);
}

/** As it comes, up to `maxBytes`; then throws `FILE_TOO_LARGE`. */
export async function* limited(stream: AsyncIterable<Uint8Array>, maxBytes: number): AsyncGenerator<Uint8Array> {
  let bytes = 0;
  for await (const chunk of stream) {
    bytes += chunk.byteLength;
    if (bytes > maxBytes) throw fileTooLarge(bytes, maxBytes);
    yield chunk;
  }
}

export function fileTooLarge(bytes: number, maxBytes: number): MatrixClientManagerError {
  const message = `the file has ${bytes} bytes or more, and ${maxBytes} are allowed`;
  return new MatrixClientManagerError('FILE_TOO_LARGE', message);
}

async function* piecesOf(body: Uint8Array): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < body.byteLength; at += CHUNK_BYTES) yield body.subarray(at, at + CHUNK_BYTES);
}

async function* exactly(stream: AsyncIterable<Uint8Array>, size: number): AsyncGenerator<Uint8Array> {
  let bytes = 0;
  for await (const chunk of stream) {
    bytes += chunk.byteLength;
    if (bytes > size) throw wrongSize(size, bytes);
    yield chunk;
  }
  if (bytes !== size) throw wrongSize(size, bytes);
}

function wrongSize(size: number, bytes: number): MatrixClientManagerError {
  const message = `expected \`file.size\` to be the size of \`file.body\`, got ${size}, and ${bytes} bytes of it so far`;
  return new MatrixClientManagerError('INVALID_OPTIONS', message);
}
