import { describe, expect, it } from 'vitest';
import { path } from '../../src/http/path.js';
import { rejection } from '../support/rejection.js';

describe('path', () => {
  it('percent-encodes every value', () => {
    const [roomId, type] = ['!a/b?c#d:x', 'm.room message%'];
    expect(path`/rooms/${roomId}/send/${type}/1`).toBe('/rooms/!a%2Fb%3Fc%23d%3Ax/send/m.room%20message%25/1');
  });

  it.each(['...', '.a', 'a.', '%2e%2e', '日本'])('lets %s through to the homeserver as it is', (value) => {
    const { pathname } = new URL(path`/devices/${value}/x`, 'http://hs');
    expect(decodeURIComponent(pathname.split('/')[2] ?? '')).toBe(value);
  });

  it.each(['', '.', '..', '\ud800', undefined, 7])(
    'refuses %j, which would lead to another address, before any request',
    async (value) => {
      expect(await rejection(() => path`/devices/${value as string}`)).toMatchObject({ code: 'INVALID_OPTIONS' });
    },
  );
});
