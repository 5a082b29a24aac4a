import { describe, expect, it } from 'vitest';
import {
  encryptionContent,
  fromText,
  isStricter,
  mergeEncryption,
  readRoomEncryption,
  toText,
} from '../../src/encryption/room-encryption.js';

const algorithm = 'm.megolm.v1.aes-sha2';
const standard = { periodMs: 604_800_000, messages: 100 };

describe('the settings of an encrypted room', () => {
  it.each([
    [{}, standard],
    [
      { rotation_period_ms: 3_600_000, rotation_period_msgs: 7 },
      { periodMs: 3_600_000, messages: 7 },
    ],
    [
      { rotation_period_ms: 3_600_000.9, rotation_period_msgs: 7.5 },
      { periodMs: 3_600_000, messages: 7 },
    ],
    [{ rotation_period_ms: -1, rotation_period_msgs: -1 }, standard],
    [{ rotation_period_ms: 0, rotation_period_msgs: 0 }, standard],
    [{ rotation_period_ms: 0.5, rotation_period_msgs: 0.5 }, standard],
    [{ rotation_period_ms: '5', rotation_period_msgs: null }, standard],
    [{ rotation_period_ms: Number.NaN, rotation_period_msgs: [5] }, standard],
    [
      { rotation_period_ms: 1e300, rotation_period_msgs: Infinity },
      { periodMs: 31_536_000_000, messages: 10_000 },
    ],
  ])('with %j are valid', (content, rotation) => {
    expect(readRoomEncryption({ algorithm, ...content })).toEqual({ rotation });
    expect(readRoomEncryption(encryptionContent(rotation))).toEqual({ rotation });
  });

  it('of an unknown algorithm, and of a redacted event, say less', () => {
    expect(readRoomEncryption({ algorithm: 'm.other', rotation_period_msgs: 5 })).toEqual({ unsupported: 'm.other' });
    expect(readRoomEncryption({ algorithm: 'x'.repeat(500) }).unsupported).toHaveLength(100);
    expect(readRoomEncryption({ algorithm: { toString: 5 } })).toEqual({ unsupported: '(object)' });
    expect(readRoomEncryption({})).toEqual({});
    expect(readRoomEncryption({ algorithm: null })).toEqual({});
  });

  it('become stricter only, in each limit', () => {
    const a = { rotation: { periodMs: 5, messages: 50 } };
    const b = { rotation: { periodMs: 50, messages: 5 } };
    expect(mergeEncryption(a, b)).toEqual({ rotation: { periodMs: 5, messages: 5 } });
    for (const nothing of [{}, { unsupported: 'm.other' }]) {
      expect(mergeEncryption(a, nothing)).toEqual(a);
      expect(mergeEncryption(nothing, a)).toEqual(a);
    }
    expect(mergeEncryption({ unsupported: 'first' }, { unsupported: 'second' })).toEqual({ unsupported: 'first' });
    expect(isStricter(a.rotation, b.rotation) && isStricter(b.rotation, a.rotation)).toBe(true);
    expect(isStricter(a.rotation, a.rotation)).toBe(false);
  });

  it('are read from the storage, whatever it returns', () => {
    for (const encryption of [{}, { unsupported: 'm.other' }, { rotation: standard }]) {
      expect(fromText(toText(encryption))).toEqual(encryption);
    }
    for (const junk of ['', 'no JSON', '5', 'null', '[]', '{"unsupported":5}', '{"rotation":7}', 5, undefined]) {
      expect(fromText(junk)).toEqual({});
    }
    expect(fromText('{"rotation":{"periodMs":-1}}')).toEqual({ rotation: standard });
  });
});
