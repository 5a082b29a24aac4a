import { describe, expect, it } from 'vitest';
import type { ErrorCode } from '../../src/core/errors.js';
import { failureClass } from '../../src/http/failure-class.js';
import type { FailureClass } from '../../src/http/failure-class.js';
import { errorFromResponse, isJsonLike, isMatrixError } from '../../src/http/response-error.js';

const subject = { operation: 'sending a message', userId: '@a:x', roomId: '!r:x' };

function answer(status: number, body: unknown, headers: Record<string, string> = {}) {
  return { status, headers: new Headers(headers), text: typeof body === 'string' ? body : JSON.stringify(body) };
}

const html = '<!DOCTYPE html><html><body><h1>502 Bad Gateway</h1></body></html>';

describe('the error of a refusal', () => {
  it.each<[number, string, ErrorCode, FailureClass]>([
    [401, 'M_UNKNOWN_TOKEN', 'UNKNOWN_TOKEN', 'unauthorised'],
    [401, 'M_MISSING_TOKEN', 'UNKNOWN_TOKEN', 'unauthorised'],
    [401, 'M_USER_LOCKED', 'FORBIDDEN', 'permanent'],
    [401, 'M_UNAUTHORIZED', 'FORBIDDEN', 'permanent'],
    [403, 'M_UNKNOWN_TOKEN', 'UNKNOWN_TOKEN', 'unauthorised'],
    [403, 'M_FORBIDDEN', 'FORBIDDEN', 'permanent'],
    [403, 'M_USER_DEACTIVATED', 'USER_DEACTIVATED', 'permanent'],
    [403, 'M_USER_SUSPENDED', 'FORBIDDEN', 'permanent'],
    [403, 'M_GUEST_ACCESS_FORBIDDEN', 'FORBIDDEN', 'permanent'],
    [404, 'M_NOT_FOUND', 'NOT_FOUND', 'permanent'],
    [404, 'M_UNKNOWN', 'NOT_FOUND', 'permanent'],
    [404, 'M_UNRECOGNIZED', 'UNSUPPORTED', 'permanent'],
    [405, 'M_UNRECOGNIZED', 'UNSUPPORTED', 'permanent'],
    [405, 'M_UNKNOWN', 'UNSUPPORTED', 'permanent'],
    [400, 'M_USER_IN_USE', 'USER_EXISTS', 'permanent'],
    [400, 'M_INVALID_USERNAME', 'INVALID_USER_ID', 'permanent'],
    [400, 'M_BAD_JSON', 'REJECTED', 'permanent'],
    [400, 'M_INVALID_PARAM', 'REJECTED', 'permanent'],
    [400, 'M_LIMIT_EXCEEDED', 'RATE_LIMITED', 'rate-limited'],
    [409, 'M_WHATEVER', 'REJECTED', 'permanent'],
    [413, 'M_TOO_LARGE', 'REJECTED', 'permanent'],
    [418, 'ORG.EXAMPLE.TEAPOT', 'REJECTED', 'permanent'],
    [429, 'M_LIMIT_EXCEEDED', 'RATE_LIMITED', 'rate-limited'],
    [429, 'M_RESOURCE_LIMIT_EXCEEDED', 'RATE_LIMITED', 'rate-limited'],
    [500, 'M_UNKNOWN', 'HOMESERVER_UNAVAILABLE', 'transient'],
    [500, 'M_UNKNOWN_TOKEN', 'HOMESERVER_UNAVAILABLE', 'transient'],
    [502, 'M_UNKNOWN', 'HOMESERVER_UNAVAILABLE', 'transient'],
    [503, 'M_UNKNOWN', 'HOMESERVER_UNAVAILABLE', 'transient'],
    [504, 'M_UNKNOWN', 'HOMESERVER_UNAVAILABLE', 'transient'],
    [524, 'M_UNKNOWN', 'HOMESERVER_UNAVAILABLE', 'transient'],
    // not errcodes, but properties that every object has
    [400, 'constructor', 'REJECTED', 'permanent'],
    [400, '__proto__', 'REJECTED', 'permanent'],
  ])('%d %s is %s, and %s', (status, errcode, code, kind) => {
    const error = errorFromResponse(answer(status, { errcode, error: 'because' }), subject);
    expect(error).toMatchObject({ code, errcode, status, userId: '@a:x', roomId: '!r:x' });
    expect(failureClass(error)).toBe(kind);
    expect(error.message).toContain('sending a message');
    expect(error.message).toContain('because');
  });

  it.each<[number, ErrorCode, FailureClass]>([
    [302, 'INVALID_RESPONSE', 'transient'],
    // A proxy that asks for a password or blocks an address must not log users out of the homeserver behind it.
    [400, 'INVALID_RESPONSE', 'transient'],
    [401, 'INVALID_RESPONSE', 'transient'],
    [403, 'INVALID_RESPONSE', 'transient'],
    [404, 'INVALID_RESPONSE', 'transient'],
    [405, 'INVALID_RESPONSE', 'transient'],
    [408, 'TIMEOUT', 'transient'],
    [409, 'INVALID_RESPONSE', 'transient'],
    [413, 'INVALID_RESPONSE', 'transient'],
    [418, 'INVALID_RESPONSE', 'transient'],
    [421, 'INVALID_RESPONSE', 'transient'],
    [425, 'INVALID_RESPONSE', 'transient'],
    [426, 'INVALID_RESPONSE', 'transient'],
    [431, 'INVALID_RESPONSE', 'transient'],
    [451, 'INVALID_RESPONSE', 'transient'],
    [429, 'RATE_LIMITED', 'rate-limited'],
    [500, 'HOMESERVER_UNAVAILABLE', 'transient'],
    [502, 'HOMESERVER_UNAVAILABLE', 'transient'],
    [530, 'HOMESERVER_UNAVAILABLE', 'transient'],
  ])('%d without a Matrix error is %s, and %s', (status, code, kind) => {
    for (const body of [
      html,
      '',
      '{"errcode":',
      'null',
      '[]',
      '"M_FORBIDDEN"',
      '7',
      { errcode: 7 },
      { errcode: '' },
      {},
    ]) {
      const error = errorFromResponse(answer(status, body), subject);
      expect(error).toMatchObject({ code, status });
      expect(error.errcode).toBeUndefined();
      expect(failureClass(error)).toBe(kind);
    }
  });

  it('of a 401 that asks for user-interactive authentication is FORBIDDEN: it is Matrix without an errcode', () => {
    const error = errorFromResponse(answer(401, { session: 's', flows: [{ stages: [] }], params: {} }), subject);
    expect(error).toMatchObject({ code: 'FORBIDDEN', status: 401 });
    expect(error.errcode).toBeUndefined();
    expect(errorFromResponse(answer(403, { flows: [] }), subject)).toMatchObject({ code: 'INVALID_RESPONSE' });
  });

  it('says what was done, what came, what was asked for and what to do about it', () => {
    const messageOf = (...given: Parameters<typeof answer>) => errorFromResponse(answer(...given), subject).message;
    const failed = 'sending a message failed with HTTP status';
    const remedy = 'check `homeserverUrl`, and the proxy in front of the homeserver';
    const wait = 'the homeserver asks to wait 7000 ms';
    expect(messageOf(400, { errcode: 'M_X', error: 'no' })).toBe(`${failed} 400 (M_X: no)`);
    expect(messageOf(429, { errcode: 'M_X' }, { 'Retry-After': '7' })).toBe(`${failed} 429 (M_X); ${wait}`);
    expect(messageOf(404, html)).toBe(`${failed} 404 (no Matrix error in the response); ${remedy}`);
    expect(messageOf(401, { flows: [] })).toBe(`${failed} 401 (user-interactive authentication is required)`);
    const limited = messageOf(425, html, { 'Retry-After': '7' });
    expect(limited).toBe(`${failed} 425 (no Matrix error in the response); ${wait}; ${remedy}`);
  });

  it('of a redirect is INVALID_RESPONSE, errcode or not', () => {
    expect(errorFromResponse(answer(399, { errcode: 'M_X' }), subject).code).toBe('INVALID_RESPONSE');
  });

  it('cuts what the homeserver says, and takes only text for an explanation', () => {
    const long = errorFromResponse(answer(400, { errcode: 'M_'.repeat(5_000), error: 'x'.repeat(50_000) }), subject);
    expect(long.message.length).toBeLessThan(600);
    const odd = errorFromResponse(answer(400, { errcode: 'M_UNKNOWN', error: { toString: 'x' } }), subject);
    expect(odd.message).toContain('(M_UNKNOWN)');
  });
});

describe('the wait that a refusal asks for', () => {
  const limited = (headers: Record<string, string>, body: object = {}) =>
    errorFromResponse(
      answer(429, { errcode: 'M_LIMIT_EXCEEDED', error: 'Too Many Requests', ...body }, headers),
      subject,
    ).retryAfterMs;

  it('stands in the header, in seconds', () => {
    expect(limited({ 'Retry-After': '3' })).toBe(3_000);
    expect(limited({ 'Retry-After': ' 3 ' })).toBe(3_000);
    const untrimmed = Object.assign(new Headers(), { get: (name: string) => (name === 'retry-after' ? ' 3 ' : null) });
    expect(errorFromResponse({ status: 429, headers: untrimmed, text: '' }, subject).retryAfterMs).toBe(3_000);
  });

  it('stands in the body, in milliseconds', () => {
    expect(limited({}, { retry_after_ms: 1_234 })).toBe(1_234);
    expect(limited({}, { retry_after_ms: 0 })).toBe(0);
    expect(limited({}, { retry_after_ms: -1 })).toBe(0);
  });

  it('is that of the header where both stand', () => {
    expect(limited({ 'Retry-After': '3' }, { retry_after_ms: 9 })).toBe(3_000);
  });

  it('may be a date, which is told from the homeserver clock', () => {
    const date = 'Sat, 21 Nov 2026 10:00:00 GMT';
    const until = 'Sat, 21 Nov 2026 10:00:42 GMT';
    expect(limited({ 'Retry-After': until, Date: date })).toBe(42_000);
    expect(limited({ 'Retry-After': date, Date: until })).toBe(0);
    expect(limited({ 'Retry-After': until }, { retry_after_ms: 5 })).toBe(5);
  });

  it.each([
    '1.5',
    '-1',
    '120s',
    'soon',
    '5 minutes',
    '',
    '0x10',
    'Someday 5',
    '3, soon',
    'after Sat, 21 Nov 2026 10:00:42 GMT',
    'Sat, 21 Nov 2026 10:00:42 GMT+0500',
  ])('is not taken from the header %j, which is neither seconds nor a date', (header) => {
    const headers = { 'Retry-After': header, Date: 'Sat, 21 Nov 2026 10:00:00 GMT' };
    expect(limited(headers, { retry_after_ms: 7_000 })).toBe(7_000);
  });

  it.each(['5', null, true, {}])('is not taken from the body when it is %j', (value) => {
    expect(limited({}, { retry_after_ms: value })).toBeUndefined();
  });

  it('is not for ever', () => {
    const error = errorFromResponse(answer(429, '{"errcode":"M_LIMIT_EXCEEDED","retry_after_ms":1e999}'), subject);
    expect(error.retryAfterMs).toBeUndefined();
  });

  it('is no longer than a timer of Node can wait', () => {
    const longest = 2 ** 31 - 1;
    expect(limited({ 'Retry-After': '9'.repeat(400) })).toBe(longest);
    expect(limited({ 'Retry-After': '99999999999' })).toBe(longest);
    expect(limited({}, { retry_after_ms: 1e300 })).toBe(longest);
  });

  it('is the longest where several stand in the headers', () => {
    const headers = new Headers([
      ['Retry-After', '3'],
      ['Retry-After', '5'],
    ]);
    const error = errorFromResponse({ status: 429, headers, text: '' }, subject);
    expect(error.retryAfterMs).toBe(5_000);
  });

  it.each(['3,15', '3, 15', '15 , 3', '3 ,15'])('is the longest of several, however they are joined (%j)', (header) => {
    expect(limited({ 'Retry-After': header })).toBe(15_000);
  });

  it('is heard of a proxy too', () => {
    expect(errorFromResponse(answer(425, html, { 'Retry-After': '5' }), subject).retryAfterMs).toBe(5_000);
  });

  it('is heard of a homeserver that is unavailable too', () => {
    const error = errorFromResponse(answer(503, html, { 'Retry-After': '5' }), subject);
    expect(error).toMatchObject({ code: 'HOMESERVER_UNAVAILABLE', retryAfterMs: 5_000 });
    expect(error.message).toContain('5000 ms');
  });

  it('is not taken from a refusal for good', () => {
    const error = errorFromResponse(answer(403, { errcode: 'M_FORBIDDEN' }, { 'Retry-After': '5' }), subject);
    expect(error.retryAfterMs).toBeUndefined();
  });
});

describe('the text of an answer', () => {
  it.each([
    ['{"errcode":"M_FORBIDDEN"}', true],
    ['{"flows":[]}', true],
    ['{"errcode":""}', false],
    ['{"flows":{}}', false],
    ['{}', false],
    ['null', false],
    ['"text"', false],
    [html, false],
  ])('%s is a Matrix error: %s', (text, is) => {
    expect(isMatrixError(text)).toBe(is);
  });

  it.each([
    ['{}', true],
    [' {"a":[1]}\n', true],
    ['[]', true],
    ['[{}]', true],
    ['', false],
    ['{', false],
    ['{"a":[', false],
    ['[}', false],
    [html, false],
  ])('%j is like JSON: %s', (text, is) => {
    expect(isJsonLike(text)).toBe(is);
  });
});
