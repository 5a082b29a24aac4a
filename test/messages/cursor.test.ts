import { createHash } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { decodeCursor, encodeCursor, invalidCursor } from '../../src/messages/cursor.js';

const roomId = '!room:x';
const invalid = expect.objectContaining({ code: 'INVALID_CURSOR', roomId }) as Error;

/** A cursor with a right digest around any body. */
function forged(body: string): string {
  const digest = createHash('sha256').update(`matrix-client-manager cursor\0${roomId}\0${body}`).digest();
  return Buffer.concat([digest.subarray(0, 9), Buffer.from(body)]).toString('base64url');
}

describe('a cursor', () => {
  it.each([{}, { token: 't1' }, { beyond: '$a' }, { token: 't1', beyond: '$ä' }, { beyond: '$a', read: ['$b'] }])(
    'gives back its position (%j)',
    (at) => {
      expect(decodeCursor(roomId, encodeCursor(roomId, at), roomId)).toEqual(at);
    },
  );

  it('is refused for another room', () => {
    expect(() => decodeCursor(roomId, encodeCursor('!other:x', { token: 't1' }), roomId)).toThrow(invalid);
  });

  it('is refused with any character changed, cut or added', () => {
    const cursor = encodeCursor(roomId, { token: 't1', beyond: '$a' });
    for (let index = 0; index < cursor.length; index++) {
      const other = cursor[index] === 'A' ? 'B' : 'A';
      expect(() => decodeCursor(roomId, cursor.slice(0, index) + other + cursor.slice(index + 1), roomId)).toThrow(
        invalid,
      );
      expect(() => decodeCursor(roomId, cursor.slice(0, index), roomId)).toThrow(invalid);
    }
    for (const added of ['A', '=', ' ', '\n', '.'])
      expect(() => decodeCursor(roomId, cursor + added, roomId)).toThrow(invalid);
    expect(() => decodeCursor(roomId, `\n${cursor}`, roomId)).toThrow(invalid);
  });

  it('is refused in another spelling of the same bytes', () => {
    // The last character of a text of 3n + 1 or 3n + 2 bytes holds bits that mean nothing.
    const cursors = ['a', 'bb'].map((token) => encodeCursor(roomId, { token }));
    const cursor = cursors.find(({ length }) => length % 4 !== 0) as string;
    const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_';
    const spelling = cursor.slice(0, -1) + alphabet[alphabet.indexOf(cursor.slice(-1)) + 1];
    expect(Buffer.from(spelling, 'base64url')).toEqual(Buffer.from(cursor, 'base64url'));
    expect(() => decodeCursor(roomId, spelling, roomId)).toThrow(invalid);
  });

  it.each([undefined, null, 7, {}, [encodeCursor(roomId, {})], ''])('is refused where it is no text (%j)', (cursor) => {
    expect(() => decodeCursor(roomId, cursor, roomId)).toThrow(invalid);
  });

  it.each(['[2,"t1",null]', '{"token":"t1"}', '{"0":1}', 'null', '"1"'])(
    'of another version is refused (%s)',
    (body) => {
      expect(() => decodeCursor(roomId, forged(body), roomId)).toThrow(invalid);
      expect(decodeCursor(roomId, forged('[1,"t1",7]'), roomId)).toEqual({ token: 't1' });
      expect(decodeCursor(roomId, forged('[1,null,"$a",["$b",7]]'), roomId)).toEqual({ beyond: '$a', read: ['$b'] });
    },
  );
});

it('the error of a cursor has its cause where there is one', () => {
  const cause = new Error('M_INVALID_PARAM');
  expect(invalidCursor(roomId, cause)).toMatchObject({ code: 'INVALID_CURSOR', roomId, cause });
  expect(invalidCursor(roomId)).not.toHaveProperty('cause');
});
