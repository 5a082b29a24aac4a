import { orTimeout } from '../core/abort.js';
import type { Context } from '../core/context.js';
import { invalidOptions, MatrixClientManagerError } from '../core/errors.js';
import { describe } from '../core/ids.js';
import { isError } from '../core/is-error.js';
import { checkedAs, withoutContent } from '../core/validation.js';

/** The bytes of a file, in memory or as a stream. */
export type FileBody = Uint8Array | ReadableStream<Uint8Array> | AsyncIterable<Uint8Array>;

export const fileBody = checkedAs<FileBody>('a Uint8Array, a stream or an async iterable', (body) => {
  const isIterable = typeof (body as Partial<AsyncIterable<unknown>> | null)?.[Symbol.asyncIterator] === 'function';
  return isIterable || body instanceof Uint8Array;
});

const CHUNK_BYTES = 65_536;

export interface SizedBody {
  readonly size: number;
  /** Whether `chunks()` can be read more than once. */
  readonly repeatable: boolean;
  /** Iterating throws `INVALID_OPTIONS` if the body has another size or cannot be read, and `TIMEOUT`. */
  readonly chunks: () => AsyncIterable<Uint8Array>;
}

/**
 * The body with its size, which the upload request states. A stream without a size is read into memory.
 * Throws `FILE_TOO_LARGE` if the body is larger than `maxBytes`.
 */
export async function sizedBody(
  body: FileBody,
  size: number | undefined,
  maxBytes: number,
  context: Pick<Context, 'clock' | 'limits'>,
): Promise<SizedBody> {
  if (size !== undefined && size > maxBytes) throw fileTooLarge(size, maxBytes);
  if (body instanceof Uint8Array) {
    if (size !== undefined && size !== body.byteLength) throw wrongSize(size, body.byteLength);
    if (body.byteLength > maxBytes) throw fileTooLarge(body.byteLength, maxBytes);
    return { size: body.byteLength, repeatable: true, chunks: () => chunksOf(body) };
  }
  const stream = readCallerStream(body as AsyncIterable<Uint8Array>, context);
  if (size !== undefined) return { size, repeatable: false, chunks: () => withExactSize(stream, size) };
  const whole = await collect(stream, maxBytes);
  return { size: whole.byteLength, repeatable: true, chunks: () => chunksOf(whole) };
}

/**
 * Reads the caller's stream. Its failures become `INVALID_OPTIONS`, so that they are not taken for network failures. A
 * read that takes longer than `requestTimeoutMs` throws `TIMEOUT`.
 */
async function* readCallerStream(
  stream: AsyncIterable<Uint8Array>,
  { clock, limits }: Pick<Context, 'clock' | 'limits'>,
): AsyncGenerator<Uint8Array> {
  const { requestTimeoutMs: timeoutMs } = limits;
  const message = `\`file.body\` could not be read: it yielded no chunk within ${timeoutMs} ms`;
  const timedOut = new MatrixClientManagerError('TIMEOUT', message);
  const bounded = <T>(step: () => T | Promise<T>): Promise<T> =>
    orTimeout((async () => step())(), clock, timeoutMs, () => timedOut);
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
      if (!(value instanceof Uint8Array)) throw new TypeError(`expected chunks of bytes, got ${withoutContent(value)}`);
      yield value;
    }
  } catch (cause) {
    if (cause === timedOut) {
      void (async () => iterator?.return?.())().catch(() => {}); // not awaited: return() may wait for the pending next()
      iterator = undefined;
      throw timedOut;
    }
    const reason = isError(cause) ? cause.message : describe(cause);
    throw invalidOptions(`\`file.body\` could not be read: ${reason}`, { cause });
  } finally {
    await bounded(() => iterator?.return?.()).catch(() => {});
  }
}

/** Runs `send` with the options of the caller. If it fails, even because of these options, closes the file's body. */
export async function closingBodyOnFailure<T>(options: unknown, send: () => Promise<T>): Promise<T> {
  try {
    return await send();
  } catch (error) {
    void closeBodyOf(options).catch(() => {}); // not awaited: the caller's code may hang
    throw error;
  }
}

/** Closes the stream, whether it was read or not, because an abandoned one keeps its file or connection open. */
async function closeBodyOf(options: unknown): Promise<void> {
  const body: unknown = (options as { readonly file?: { readonly body?: unknown } } | null | undefined)?.file?.body;
  // destroy() of a Node stream, cancel() of a web stream, return() of a generator. A locked web stream rejects cancel();
  // its reader closes it.
  const { destroy, cancel, return: end } = (body ?? {}) as Partial<Record<'destroy' | 'cancel' | 'return', unknown>>;
  const close = [destroy, cancel, end].find((method) => typeof method === 'function') as (() => unknown) | undefined;
  await close?.call(body);
}

/** Reads the whole stream into memory. Throws `FILE_TOO_LARGE` beyond `maxBytes`. */
export async function collect(stream: AsyncIterable<Uint8Array>, maxBytes: number): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of limitSize(stream, maxBytes)) chunks.push(chunk);
  return Buffer.concat(chunks);
}

/** Yields the chunks of the stream. Throws `FILE_TOO_LARGE` beyond `maxBytes`. */
export async function* limitSize(stream: AsyncIterable<Uint8Array>, maxBytes: number): AsyncGenerator<Uint8Array> {
  let bytes = 0;
  for await (const chunk of stream) {
    bytes += chunk.byteLength;
    if (bytes > maxBytes) throw fileTooLarge(bytes, maxBytes);
    yield chunk;
  }
}

export function fileTooLarge(bytes: number, maxBytes: number): MatrixClientManagerError {
  const message = `the file has at least ${bytes} bytes; the limit is ${maxBytes} bytes`;
  return new MatrixClientManagerError('FILE_TOO_LARGE', message);
}

async function* chunksOf(body: Uint8Array): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < body.byteLength; at += CHUNK_BYTES) yield body.subarray(at, at + CHUNK_BYTES);
}

async function* withExactSize(stream: AsyncIterable<Uint8Array>, size: number): AsyncGenerator<Uint8Array> {
  let bytes = 0;
  for await (const chunk of stream) {
    bytes += chunk.byteLength;
    if (bytes > size) throw wrongSize(size, bytes);
    yield chunk;
  }
  if (bytes !== size) throw wrongSize(size, bytes);
}

function wrongSize(size: number, bytes: number): MatrixClientManagerError {
  const message = `expected \`file.size\` to be the size of \`file.body\`, got ${size}, but read ${bytes} bytes`;
  return invalidOptions(message);
}
