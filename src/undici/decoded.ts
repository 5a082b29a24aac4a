import { promisify } from 'node:util';
import zlib from 'node:zlib';
import { MatrixClientManagerError } from '../core/errors.js';
import { tooLarge } from '../http/read-text.js';

/** From here on a body is decompressed off the event loop; below, that would cost more than the work itself. */
const LARGE_BYTES = 65_536;

const decoders = {
  gzip: [zlib.gunzipSync, promisify<Buffer, zlib.ZlibOptions, Buffer>(zlib.gunzip)],
  deflate: [zlib.inflateSync, promisify<Buffer, zlib.ZlibOptions, Buffer>(zlib.inflate)],
  br: [zlib.brotliDecompressSync, promisify<Buffer, zlib.BrotliOptions, Buffer>(zlib.brotliDecompress)],
} as const;

/** The body without the compression that `encoding`, a Content-Encoding, names. Throws `INVALID_RESPONSE`. */
export async function decompress(body: Buffer, encoding: string, maxBytes: number): Promise<Buffer> {
  const name = encoding.trim().toLowerCase().replace(/^x-/, '');
  if (name === 'identity' || body.byteLength === 0) return body;
  if (!Object.hasOwn(decoders, name)) throw compressionError('is compressed in a way that nobody asked for');
  const [atOnce, later] = decoders[name as keyof typeof decoders];
  try {
    const options = { maxOutputLength: maxBytes };
    return body.byteLength < LARGE_BYTES ? atOnce(body, options) : await later(body, options);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ERR_BUFFER_TOO_LARGE') throw tooLarge(maxBytes);
    throw compressionError('cannot be decompressed');
  }
}

function compressionError(why: string): MatrixClientManagerError {
  return new MatrixClientManagerError('INVALID_RESPONSE', `the answer ${why}`);
}
