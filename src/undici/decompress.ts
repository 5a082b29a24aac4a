import { promisify } from 'node:util';
import zlib from 'node:zlib';
import { MatrixClientManagerError } from '../core/errors.js';
import { tooLarge } from '../http/read-text.js';

/** Bodies from this size on are decompressed off the event loop. For smaller ones that would cost more than it saves. */
const LARGE_BYTES = 65_536;

const decoders = {
  gzip: [zlib.gunzipSync, promisify<Buffer, zlib.ZlibOptions, Buffer>(zlib.gunzip)],
  deflate: [zlib.inflateSync, promisify<Buffer, zlib.ZlibOptions, Buffer>(zlib.inflate)],
  br: [zlib.brotliDecompressSync, promisify<Buffer, zlib.BrotliOptions, Buffer>(zlib.brotliDecompress)],
} as const;

/** Decompresses a body. `encoding` is the value of `Content-Encoding`. Rejects with `INVALID_RESPONSE`. */
export async function decompress(body: Buffer, encoding: string, maxBytes: number): Promise<Buffer> {
  const name = encoding.trim().toLowerCase().replace(/^x-/, '');
  if (name === 'identity' || body.byteLength === 0) return body;
  if (!Object.hasOwn(decoders, name)) throw compressionError('has a content encoding that was not requested');
  const [decompressSync, decompressAsync] = decoders[name as keyof typeof decoders];
  try {
    const options = { maxOutputLength: maxBytes };
    return body.byteLength < LARGE_BYTES ? decompressSync(body, options) : await decompressAsync(body, options);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ERR_BUFFER_TOO_LARGE') throw tooLarge(maxBytes);
    throw compressionError('cannot be decompressed');
  }
}

function compressionError(why: string): MatrixClientManagerError {
  return new MatrixClientManagerError('INVALID_RESPONSE', `the response ${why}`);
}
