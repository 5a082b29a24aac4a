import { describe, expect, it } from 'vitest';
import { MAX_ERROR_BYTES, readResponse, readText } from '../../src/http/read-text.js';

/** An answer in chunks; `read` says how many of them were asked for, and whether the rest was cancelled. */
function answer(chunks: readonly (string | Uint8Array)[], init: ResponseInit = {}, breaks = false) {
  const read = { chunks: 0, cancelled: false };
  const body = new ReadableStream<Uint8Array>(
    {
      pull: (controller) => {
        const chunk = chunks[read.chunks++];
        if (chunk !== undefined) controller.enqueue(typeof chunk === 'string' ? Buffer.from(chunk) : chunk);
        else if (breaks) controller.error(new Error('connection broke'));
        else controller.close();
      },
      cancel: () => void (read.cancelled = true),
    },
    { highWaterMark: 0 },
  );
  return { response: new Response(body, init), read };
}

const tooLarge = expect.objectContaining({ code: 'INVALID_RESPONSE' }) as Error;

describe('the text of an answer', () => {
  it('is read to its end, with characters that are split between chunks', async () => {
    const bytes = Buffer.from('für 1 €');
    const chunks = Array.from(bytes, (byte) => Uint8Array.of(byte));
    expect(await readText(answer(chunks).response, bytes.length)).toBe('für 1 €');
    expect(await readText(answer(['a', 'b'], { headers: { 'content-length': '2' } }).response, 2)).toBe('ab');
    expect(await readText(new Response(null), 10)).toBe('');
  });

  it('ends with what is left of a character that was cut', async () => {
    expect(await readText(answer([Uint8Array.of(0xe2, 0x82)]).response, 10)).toBe('\ufffd');
  });

  it('is not read where its length is said to be too large', async () => {
    const { response, read } = answer(['abc'], { headers: { 'content-length': '3' } });
    await expect(readText(response, 2)).rejects.toThrow(tooLarge);
    expect(read).toEqual({ chunks: 0, cancelled: true });
  });

  it('is none where a length is said, too large, and nothing is there', async () => {
    await expect(readText(new Response(null, { headers: { 'content-length': '3' } }), 2)).rejects.toThrow(tooLarge);
  });

  it.each([
    ['without a length', {}],
    ['with the length of what is compressed', { 'content-length': '1', 'content-encoding': 'gzip' }],
  ])('is not read beyond the limit (%s)', async (_, headers) => {
    const { response, read } = answer(['ab', 'cd', 'ef'], { headers });
    await expect(readText(response, 3)).rejects.toThrow(tooLarge);
    expect(read).toEqual({ chunks: 2, cancelled: true });
  });
});

describe('a refusal', () => {
  const refusal = (chunks: readonly (string | Uint8Array)[], breaks = false) => answer(chunks, { status: 400 }, breaks);

  it('has its status, headers and text, whatever the limit of a success', async () => {
    const { response } = answer(['no', ' way'], { status: 403, headers: { 'x-why': 'because' } });
    const { status, headers, text } = await readResponse(response, 1);
    expect([status, headers.get('x-why'), text]).toEqual([403, 'because', 'no way']);
    expect(await readResponse(new Response(null, { status: 404 }), 1)).toMatchObject({ status: 404, text: '' });
  });

  it('is read at its beginning only', async () => {
    const { response, read } = refusal(['x'.repeat(MAX_ERROR_BYTES - 1), 'yyy', 'z']);
    const { text } = await readResponse(response, 1);
    expect([text.length, text.at(-1)]).toEqual([MAX_ERROR_BYTES, 'y']);
    expect(read).toEqual({ chunks: 2, cancelled: true });
  });

  it('is read no further when its beginning is there', async () => {
    const { response, read } = refusal(['x'.repeat(MAX_ERROR_BYTES), 'y']);
    expect((await readResponse(response, 1)).text).toHaveLength(MAX_ERROR_BYTES);
    expect(read).toEqual({ chunks: 1, cancelled: true });
  });

  it('has its characters whole that are split between chunks, and what is left of one that is cut', async () => {
    const bytes = Array.from(Buffer.from('für 1 €'), (byte) => Uint8Array.of(byte));
    expect((await readResponse(refusal(bytes).response, 1)).text).toBe('für 1 €');
    expect((await readResponse(refusal(bytes.slice(0, -1)).response, 1)).text).toBe('für 1 \ufffd');
  });

  it('is what came of it before the connection broke', async () => {
    const { response } = refusal(['{"errcode":'], true);
    expect(await readResponse(response, 1)).toMatchObject({ status: 400, text: '{"errcode":' });
  });
});

it('a success has its status, and its text within the limit', async () => {
  expect(await readResponse(answer(['ok'], { status: 201 }).response, 2)).toMatchObject({ status: 201, text: 'ok' });
  await expect(readResponse(answer(['long']).response, 2)).rejects.toThrow(tooLarge);
});
