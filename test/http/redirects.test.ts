import { describe, expect, it } from 'vitest';
import { downloadTarget, isRedirect, redirectTarget } from '../../src/http/redirects.js';

const from = new URL('https://hs.test/_matrix/client/v3/sync');
const to = (location: string | null, status = 302) => ({ status, headers: { get: () => location } });
const refused = (reason: string) =>
  expect.objectContaining({ code: 'INVALID_RESPONSE', message: expect.stringContaining(reason) as string }) as Error;

it('redirects are 301, 302, 303, 307 and 308', () => {
  const statuses = Array.from({ length: 500 }, (_, n) => n + 100).filter(isRedirect);
  expect(statuses).toEqual([301, 302, 303, 307, 308]);
});

describe('a redirect', () => {
  it.each(['GET', 'HEAD'])('is followed inside the origin for %s', (method) => {
    expect(redirectTarget(to('/elsewhere?a=1'), from, method, 0).href).toBe('https://hs.test/elsewhere?a=1');
    expect(redirectTarget(to('https://hs.test/b'), from, method, 4).href).toBe('https://hs.test/b');
  });

  it.each([
    ['another host', 'https://other.test/', 'GET', 0, 'token'],
    ['another scheme', 'http://hs.test/', 'GET', 0, 'token'],
    ['another port', 'https://hs.test:8448/', 'GET', 0, 'token'],
    ['a PUT', '/b', 'PUT', 0, 'not sent twice'],
    ['a POST', '/b', 'POST', 0, 'not sent twice'],
    ['the sixth in a row', '/b', 'GET', 5, '6th'],
    ['no address', null, 'GET', 0, 'no valid `location`'],
    ['a damaged address', 'https://[', 'GET', 0, 'no valid `location`'],
  ])('is not followed for %s', (_, location, method, hops, reason) => {
    expect(() => redirectTarget(to(location, 307), from, method, hops)).toThrow(refused(reason));
    expect(() => redirectTarget(to(location, 307), from, method, hops)).toThrow(
      expect.objectContaining({ status: 307 }) as Error,
    );
  });
});

describe('the redirect of a download', () => {
  const visited = new Set([from.href]);

  it('leads to another host as well, and from http to https', () => {
    expect(downloadTarget(to('https://cdn.test/a'), from, visited).href).toBe('https://cdn.test/a');
    const plain = new URL('http://hs.test/a');
    for (const location of ['http://cdn.test/a', 'https://cdn.test/a']) {
      expect(downloadTarget(to(location), plain, new Set([plain.href])).href).toBe(location);
    }
  });

  it.each([
    ['from https to http', 'http://cdn.test/', 'https to http'],
    ['to what is no http address', 'file:///etc/passwd', 'not an HTTP URL'],
    ['to an address like http', 'httpsx://cdn.test/', 'not an HTTP URL'],
    ['with a user name', 'https://user@cdn.test/', 'password'],
    ['with a password', 'https://:secret@cdn.test/', 'password'],
    ['in a circle', from.href, 'loop'],
  ])('is not followed %s', (_, location, reason) => {
    expect(() => downloadTarget(to(location), from, visited)).toThrow(refused(reason));
  });

  it('is not followed to what is like http, from http', () => {
    const plain = new URL('http://hs.test/a');
    for (const location of ['xhttp://cdn.test/', 'ftp://cdn.test/']) {
      expect(() => downloadTarget(to(location), plain, new Set())).toThrow(refused('not an HTTP URL'));
    }
    expect(() => downloadTarget(to(null), plain, new Set())).toThrow(refused('redirects GET /a to an unknown address'));
  });

  it('is followed five times', () => {
    const addresses = Array.from({ length: 6 }, (_, n) => `https://cdn.test/${n}`);
    expect(downloadTarget(to('/next'), from, new Set(addresses.slice(0, 5))).pathname).toBe('/next');
    expect(() => downloadTarget(to('/next'), from, new Set(addresses))).toThrow(refused('6th'));
  });
});
