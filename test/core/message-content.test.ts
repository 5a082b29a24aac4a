import { describe, expect, it } from 'vitest';
import { readMessageContent } from '../../src/core/message-content.js';
import type { ImageContent, MessageContent } from '../../src/core/message-content.js';
import type { SendMessageOptions } from '../../src/sending/send-message-options.js';

const file = {
  url: 'mxc://x/a',
  v: 'v2',
  iv: 'iv',
  key: { kty: 'oct', alg: 'A256CTR', k: 'k', ext: true, key_ops: ['encrypt', 'decrypt'] },
  hashes: { sha256: 'h' },
};
const size = { mimetype: 'a/b', size: 5 };
const dimensions = { w: 1, h: 0 };
const thumbnail = { thumbnail_url: 'mxc://x/t', thumbnail_file: file, thumbnail_info: { ...size, ...dimensions } };
const html = { format: 'org.matrix.custom.html', formatted_body: '<b>hi</b>' } as const;

const contents: readonly MessageContent[] = [
  { msgtype: 'm.text', body: 'hi', ...html },
  { msgtype: 'm.notice', body: 'hi' },
  { msgtype: 'm.emote', body: 'waves' },
  { msgtype: 'm.image', body: 'a', url: 'mxc://x/a', info: { ...size, ...dimensions, ...thumbnail } },
  { msgtype: 'm.file', body: 'a', filename: 'a.pdf', file, info: { ...size, ...thumbnail } },
  { msgtype: 'm.audio', body: 'a', ...html, url: 'mxc://x/a', info: { ...size, duration: 7 } },
  { msgtype: 'm.video', body: 'a', file, info: { ...size, ...dimensions, ...thumbnail, duration: 7 } },
  { msgtype: 'm.location', body: 'here', geo_uri: 'geo:1,2', info: thumbnail },
];

describe('the content of a message', () => {
  it.each(contents.map((content) => [content.msgtype, content] as const))('%s is read as it is', (_type, content) => {
    expect(readMessageContent({ ...content, extra: 1 })).toStrictEqual(content);
  });

  it('of an edit is the new one', () => {
    const newContent = { msgtype: 'm.text', body: 'new' };
    const relation = { rel_type: 'm.replace', event_id: '$1' };
    const edit = { msgtype: 'm.text', body: '* new', 'm.new_content': newContent, 'm.relates_to': relation };
    expect(readMessageContent(edit)).toStrictEqual(newContent);
  });

  it('can be sent with its type', () => {
    const image: ImageContent = { msgtype: 'm.image', body: 'a', url: 'mxc://x/a' };
    const options: SendMessageOptions = { userId: '@a:x', roomId: '!r:x', content: image };
    expect(options.content).toBe(image);
  });

  it.each([null, 7, 'x', [], {}, true, -1])('loses a field that is %j', (wrong) => {
    const info = { mimetype: [], size: -1, w: '1', h: null, thumbnail_url: 7, thumbnail_file: {}, thumbnail_info: 1 };
    const content = { msgtype: 'm.image', body: 'a', url: 'mxc://x/a', format: wrong, file: wrong };
    expect(readMessageContent({ ...content, info })).toStrictEqual({
      msgtype: 'm.image',
      body: 'a',
      url: 'mxc://x/a',
      info: {},
    });
    expect(readMessageContent({ msgtype: wrong, body: 'a' })).toBeUndefined();
    expect(
      readMessageContent({ msgtype: 'm.location', body: 'a', geo_uri: wrong === 'x' ? 7 : wrong }),
    ).toBeUndefined();
  });

  it.each([
    {},
    { msgtype: 'org.example.vote', body: 'a' },
    { msgtype: 'm.text' },
    { msgtype: 'm.text', body: 7 },
    { msgtype: 'm.file', body: 'a' },
    { msgtype: 'm.file', body: 'a', url: 7, file: { ...file, key: 'k' } },
    JSON.parse('{"__proto__":{"msgtype":"m.text","body":"a"}}'),
  ])('is undefined for %j', (content) => {
    expect(readMessageContent(content)).toBeUndefined();
  });
});
