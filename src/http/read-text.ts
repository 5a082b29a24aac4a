import type { HttpResponse } from '../core/ports/transport.js';
import { MatrixClientManagerError } from '../core/errors.js';

/**
 * Reads a body to its end, but not beyond `maxBytes`: a homeserver out of its mind must not fill the memory.
 * @internal for tests
 */
export async function readText(response: Response, maxBytes: number): Promise<string> {
  const announced = Number(response.headers.get('content-length') ?? Number.NaN);
  const compressed = response.headers.has('content-encoding');
  if (announced > maxBytes) {
    await response.body?.cancel();
    throw tooLarge(maxBytes);
  }
  if (!response.body || (announced <= maxBytes && !compressed)) return response.text();
  const decoder = new TextDecoder();
  let text = '';
  let bytes = 0;
  for await (const chunk of response.body as unknown as AsyncIterable<Uint8Array>) {
    bytes += chunk.byteLength;
    if (bytes > maxBytes) throw tooLarge(maxBytes); // leaving the loop cancels the body
    text += decoder.decode(chunk, { stream: true });
  }
  return text + decoder.decode();
}

/** What is read at most of an answer that is no success, in bytes: an errcode and a sentence need less. */
export const MAX_ERROR_BYTES = 65_536;

/** The answer with its body read: up to `maxBytes` of a success, the beginning only of any other. */
export async function readAnswer(response: Response, maxBytes: number): Promise<HttpResponse> {
  if (!response.ok) return readRefusal(response);
  const { status, headers } = response;
  return { status, headers, text: await readText(response, maxBytes) };
}

/** The answer with the beginning of its body: what is cut off is missed by nobody, since the status says what matters. */
export async function readRefusal({ status, headers, body }: Response): Promise<HttpResponse> {
  const decoder = new TextDecoder();
  let text = '';
  let bytes = 0;
  try {
    for await (const chunk of (body ?? []) as unknown as AsyncIterable<Uint8Array>) {
      text += decoder.decode(chunk.subarray(0, MAX_ERROR_BYTES - bytes), { stream: true });
      bytes += chunk.byteLength;
      if (bytes >= MAX_ERROR_BYTES) break; // leaving the loop cancels the body
    }
  } catch {
    // the connection broke, or the compression is damaged
  }
  return { status, headers, text: text + decoder.decode() };
}

export function tooLarge(maxBytes: number): MatrixClientManagerError {
  return new MatrixClientManagerError(
    'INVALID_RESPONSE',
    `the answer is larger than ${maxBytes} bytes (maxResponseBytes)`,
  );
}
