import { describe, expect, it } from 'vitest';
import { decryption } from '../../src/core/decryption.js';
import type { RawEvent } from '../../src/core/raw-event.js';
import { changesOf, toRoomMessage } from '../../src/messages/room-message.js';

const encrypted = { [decryption]: { state: 'decrypted' } } as const;

function message(event_id: string, content: object, more: Partial<RawEvent> = {}): RawEvent {
  const common = { type: 'm.room.message', sender: '@a:x', origin_server_ts: 1 };
  return { event_id, ...common, content: { msgtype: 'm.text', ...content }, ...more };
}

describe('toRoomMessage()', () => {
  it.each([
    [{}, {}, 'edited'],
    [{}, encrypted, 'edited'],
    [encrypted, encrypted, 'edited'],
    [encrypted, {}, 'said'],
  ])('takes no edit in the clear for what came encrypted (%#)', (original, edit, body) => {
    const said = message('$1', { body: 'said' }, original);
    const change = { 'm.new_content': { body: 'edited' }, 'm.relates_to': { rel_type: 'm.replace', event_id: '$1' } };
    const edited = message('$2', { body: '* edited', ...change }, edit);
    expect(toRoomMessage('!r:x', said, changesOf([said, edited])).content.body).toBe(body);
  });
});
