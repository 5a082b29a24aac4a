import type { IncomingMessage } from 'node:http';
import { Refusal } from './failures.js';

const MAX_JSON_BYTES = 128 * 1024;

/** The JSON object in the body. A page of another origin cannot send this content type without a question before. */
export async function readJson(request: IncomingMessage): Promise<Readonly<Record<string, unknown>>> {
  if (!/^application\/json\b/i.test(request.headers['content-type'] ?? '')) throw new Refusal(415, 'EXPECTED_JSON');
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > MAX_JSON_BYTES) throw new Refusal(413, 'TOO_LARGE');
    chunks.push(chunk);
  }
  try {
    const value: unknown = JSON.parse(Buffer.concat(chunks).toString('utf8'));
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Record<string, unknown>;
  } catch {
    // the same answer as for another kind of JSON
  }
  throw new Refusal(400, 'BAD_JSON');
}

/** The text in a field. */
export function textIn(body: Readonly<Record<string, unknown>>, name: string): string {
  const value = optionalTextIn(body, name);
  if (value === undefined) throw new Refusal(400, 'BAD_REQUEST');
  return value;
}

export function optionalTextIn(body: Readonly<Record<string, unknown>>, name: string): string | undefined {
  const value = Object.hasOwn(body, name) ? body[name] : undefined;
  if (value === undefined || typeof value === 'string') return value;
  throw new Refusal(400, 'BAD_REQUEST');
}
