import { MatrixClientManagerError } from '../core/errors.js';

/** Reads a body to its end, but not beyond `maxBytes`: a homeserver out of its mind must not fill the memory. */
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

export function tooLarge(maxBytes: number): MatrixClientManagerError {
  return new MatrixClientManagerError(
    'INVALID_RESPONSE',
    `the answer is larger than ${maxBytes} bytes (maxResponseBytes)`,
  );
}
