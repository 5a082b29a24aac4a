import type { HttpResponse } from '../core/ports/transport.js';
import { MatrixClientManagerError } from '../core/errors.js';

/**
 * Reads a body to its end. Rejects when it is larger than `maxBytes`, so that a faulty homeserver cannot fill the memory.
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

/** How much of an error response is read at most, in bytes. A Matrix error is smaller. */
export const MAX_ERROR_BYTES = 65_536;

/** Reads the body of a response: of a success up to `maxBytes`, of an error response only the beginning. */
export async function readResponse(response: Response, maxBytes: number): Promise<HttpResponse> {
  if (!response.ok) return readErrorResponse(response);
  const { status, headers } = response;
  return { status, headers, text: await readText(response, maxBytes) };
}

/** Reads the beginning of an error response. Never rejects: if reading fails, the status still describes the error. */
export async function readErrorResponse({ status, headers, body }: Response): Promise<HttpResponse> {
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
    `the response is larger than ${maxBytes} bytes (maxResponseBytes)`,
  );
}
