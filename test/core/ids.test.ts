import { describe, expect, it } from 'vitest';
import {
  assertEventId,
  assertRoomId,
  assertUserId,
  describe as print,
  isServerName,
  newUserId,
} from '../../src/core/ids.js';
import { rejection } from '../support/rejection.js';

const server = 'example.org';
/** A localpart that makes a user id of exactly 255 bytes. */
const longest = 'a'.repeat(255 - `@:${server}`.length);

describe('assertUserId', () => {
  it.each([
    '@alice:example.org',
    '@ALICE:example.org', // historical: it exists, though nobody can make it any more
    '@_bridge_!"#$%&\'()*,;<>?@[]^`{|}~:example.org',
    '@ünï:example.org',
    '@al ice:example.org',
    '@\t\n\x7f:example.org',
    '@😀:example.org',
    '@:example.org',
    '@constructor:example.org',
    '@a:localhost:8448',
    '@a:127.0.0.1',
    '@a:[2001:db8::1]:8448',
    `@${longest}:${server}`,
  ])('takes %s', (userId) => {
    expect(() => assertUserId(userId)).not.toThrow();
  });

  it.each([
    [undefined, 'undefined'],
    [null, 'null'],
    [7, 'number'],
    [{}, 'object'],
    ['', 'does not start with "@"'],
    ['alice', 'does not start with "@"'],
    ['alice:example.org', 'does not start with "@"'],
    ['@alice', 'has no ":server"'],
    ['@al\0ice:example.org', 'NUL'],
    ['@alice\ud83d:example.org', 'surrogate'],
    ['@\udc00alice:example.org', 'surrogate'],
    ['@alice:', 'server name'],
    ['@alice:exa mple.org', 'server name'],
    ['@alice:example.org\n', 'server name'],
    ['@alice:example.org:port', 'server name'],
    ['@alice:example.org:123456', 'server name'],
    ['@alice:[::1', 'server name'],
    [`@a${longest}:${server}`, '255 bytes'],
    [`@${longest.slice(1)}ü:${server}`, '255 bytes'],
  ])('refuses %j and says why', async (userId, why) => {
    const error = await rejection(() => assertUserId(userId));
    expect(error).toMatchObject({ code: 'INVALID_USER_ID' });
    expect(error.message).toContain(why);
  });
});

describe('newUserId', () => {
  it.each(['alice', 'a', '0x', 'a.b_c=d-e/f+g', '=5fx', '-', '.', longest])('takes %s', (username) => {
    expect(newUserId(username, server)).toBe(`@${username}:${server}`);
  });

  it.each([
    [undefined, 'a string'],
    [null, 'a string'],
    [12, 'a string'],
    ['', 'at least one character'],
    ['@alice', 'localpart alone'],
    ['alice:example.org', 'localpart alone'],
    ['@alice:example.org', 'localpart alone'],
    ['Alice', 'lower case'],
    ['al ice', 'characters a-z'],
    ['alice\n', 'characters a-z'],
    ['älice', 'characters a-z'],
    ['ａｌｉｃｅ', 'characters a-z'],
    ['al#ice', 'characters a-z'],
    ['al%20ice', 'characters a-z'],
    ['al\0ice', 'characters a-z'],
    ['_alice', 'not to start with "_"'],
    ['12345', 'all digits'],
    [`a${longest}`, '255 bytes'],
  ])('refuses %j and names the rule', async (username, rule) => {
    const error = await rejection(() => newUserId(username, server));
    expect(error).toMatchObject({ code: 'INVALID_USER_ID' });
    expect(error.message).toContain('`username`');
    expect(error.message).toContain(rule);
  });

  it('keeps a refused username short in the message', async () => {
    const error = await rejection(() => newUserId('x'.repeat(100_000), server));
    expect(error.message.length).toBeLessThan(300);
  });
});

describe('assertRoomId and assertEventId', () => {
  it.each(['!abc:example.org', '!31hneApxJ_1o-63DmFrpeqnkFfWppnzWso1JvH3ogLM', '!ü:example.org'])(
    'take the room id %s',
    (roomId) => {
      expect(() => assertRoomId(roomId)).not.toThrow();
    },
  );

  it.each(['$abc', '$abc:example.org', '$acR1l0raoZnm60CBwAVgqbZqoO/mYU81xysh1u7XcJk'])(
    'take the event id %s',
    (eventId) => {
      expect(() => assertEventId(eventId)).not.toThrow();
    },
  );

  it.each([undefined, null, 1, {}, '', 'abc', '!', '! a', '!a\0', '!a\n', `!${'a'.repeat(255)}`])(
    'refuse the room id %j',
    async (roomId) => {
      const error = await rejection(() => assertRoomId(roomId));
      expect(error).toMatchObject({ code: 'INVALID_OPTIONS' });
      expect(error.message).toContain('`roomId`');
    },
  );

  it.each([undefined, null, 1, {}, '', 'abc', '$', '$ a', `$${'a'.repeat(255)}`])(
    'refuse the event id %j',
    async (eventId) => {
      const error = await rejection(() => assertEventId(eventId));
      expect(error).toMatchObject({ code: 'INVALID_OPTIONS' });
      expect(error.message).toContain('`eventId`');
    },
  );

  it('say of an alias that it has to be resolved first', async () => {
    expect((await rejection(() => assertRoomId('#room:example.org'))).message).toContain('alias');
  });
});

describe('isServerName', () => {
  it.each(['example.org', 'localhost', 'a:1', '1.2.3.4:8448', '[::1]', '[::ffff:1.2.3.4]:80'])('takes %s', (name) => {
    expect(isServerName(name)).toBe(true);
  });

  it.each(['', ':80', 'a b', 'a/b', 'a:', 'a:x', 'exämple.org', '[]', '::1', 'http://a', 'a\n'])(
    'refuses %j',
    (name) => {
      expect(isServerName(name)).toBe(false);
    },
  );
});

describe('the description of a value', () => {
  it('prints strings quoted and cut, and of everything else only the type', () => {
    expect(print('a"b')).toBe('"a\\"b"');
    expect(print('x'.repeat(200)).length).toBeLessThan(90);
    expect([print(null), print(undefined), print({ password: 'x' }), print(5)]).toEqual([
      'null',
      'undefined',
      'object',
      'number',
    ]);
  });
});
