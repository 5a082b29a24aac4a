import { describe, expect, it } from 'vitest';
import { messageIndexOf } from '../../../src/sdk/crypto/message-index.js';

const suffix = Array.from({ length: 72 }, () => 0xff);
const base64 = (...bytes: number[]): string => Buffer.from(bytes).toString('base64').replaceAll('=', '');
const ciphertext = [0x12, 2, 1, 1];

describe('messageIndexOf()', () => {
  it.each([
    ['the first message', [3, 0x08, 0, ...ciphertext], 0],
    ['a message behind 127 others', [3, 0x08, 0x7f, ...ciphertext], 127],
    ['a message behind 300 others', [3, 0x08, 0xac, 0x02, ...ciphertext], 300],
    ['the last message of all', [3, 0x08, 0xff, 0xff, 0xff, 0xff, 0x0f, ...ciphertext], 2 ** 32 - 1],
    ['parts in another order', [3, ...ciphertext, 0x08, 5], 5],
    ['a part twice: the last counts, as for the crypto library', [3, 0x08, 1, 0x08, 2, ...ciphertext], 2],
    ['a part of a later version', [3, 0x08, 1, 0x18, 9, ...ciphertext], 1],
    ['no index', [3, ...ciphertext], undefined],
    ['an index that is no 32-bit number', [3, 0x08, 0xff, 0xff, 0xff, 0xff, 0x1f, ...ciphertext], undefined],
    ['an index that does not end', [3, 0x08, 0xff, 0xff], undefined],
    ['a part that is longer than the message', [3, 0x08, 1, 0x12, 9, 1], undefined],
    ['an unknown kind of part', [3, 0x08, 1, 0x0d, 1, 1, 1, 1], undefined],
    ['another version', [5, 0x08, 1, ...ciphertext], undefined],
    ['nothing', [], undefined],
  ])('reads %s', (_name, bytes, index) => {
    expect(messageIndexOf(base64(...bytes, ...suffix))).toBe(index);
  });

  it('knows messages with the whole MAC', () => {
    const longSuffix = Array.from({ length: 96 }, () => 0xff);
    expect(messageIndexOf(base64(4, 0x08, 7, ...ciphertext, ...longSuffix))).toBe(7);
  });

  it.each([undefined, null, 5, {}, '', 'AwgA', '!!'])('reads nothing in %j', (junk) => {
    expect(messageIndexOf(junk)).toBe(undefined);
  });
});
