import * as v from 'valibot';
import { isObject } from './raw-event.js';
import type { EventContent } from './raw-event.js';

// Type aliases, because interfaces are not assignable to `EventContent`.

type Formatted = {
  readonly body: string;
  readonly format?: 'org.matrix.custom.html';
  /** `body` as HTML. Sanitize it before you show it. */
  readonly formatted_body?: string;
};

/** A file that was uploaded encrypted. @see https://spec.matrix.org/v1.16/client-server-api/#extensions-to-mroommessage-msgtypes */
export type EncryptedFile = {
  readonly url: string;
  readonly v: string;
  readonly iv: string;
  readonly key: {
    readonly kty: string;
    readonly alg: string;
    readonly k: string;
    readonly ext: boolean;
    readonly key_ops: readonly string[];
  };
  readonly hashes: { readonly sha256: string };
};

type Dimensions = { readonly w?: number; readonly h?: number };
type Thumbnail = {
  readonly thumbnail_url?: string;
  readonly thumbnail_file?: EncryptedFile;
  readonly thumbnail_info?: Dimensions & { readonly mimetype?: string; readonly size?: number };
};
type FileInfo = { readonly mimetype?: string; readonly size?: number };
type Duration = { readonly duration?: number };

/** With `url`, or with `file` if the file was uploaded encrypted. `body` is a caption if `filename` differs from it. */
type WithFile<Info> = Formatted & {
  readonly filename?: string;
  readonly url?: string;
  readonly file?: EncryptedFile;
  readonly info?: Info;
};

export type TextContent = Formatted & { readonly msgtype: 'm.text' | 'm.notice' | 'm.emote' };
export type ImageContent = WithFile<FileInfo & Dimensions & Thumbnail> & { readonly msgtype: 'm.image' };
export type FileContent = WithFile<FileInfo & Thumbnail> & { readonly msgtype: 'm.file' };
export type AudioContent = WithFile<FileInfo & Duration> & { readonly msgtype: 'm.audio' };
export type VideoContent = WithFile<FileInfo & Dimensions & Duration & Thumbnail> & { readonly msgtype: 'm.video' };
export type LocationContent = {
  readonly msgtype: 'm.location';
  readonly body: string;
  /** Such as `geo:51.5008,0.1247;u=35`. */
  readonly geo_uri: string;
  readonly info?: Thumbnail;
};

/** The contents of `m.room.message` that the specification defines, by `msgtype`. */
export type MessageContent = TextContent | ImageContent | FileContent | AudioContent | VideoContent | LocationContent;

const optionalText = leftOut(v.string());
const optionalCount = leftOut(v.pipe(v.number(), v.minValue(0)));
const formatted = {
  body: v.string(),
  format: leftOut(v.literal('org.matrix.custom.html')),
  formatted_body: optionalText,
};
const encryptedFile = v.object({
  url: v.string(),
  v: v.string(),
  iv: v.string(),
  key: v.object({
    kty: v.string(),
    alg: v.string(),
    k: v.string(),
    ext: v.boolean(),
    key_ops: v.array(v.string()),
  }),
  hashes: v.object({ sha256: v.string() }),
});
const size = { mimetype: optionalText, size: optionalCount };
const dimensions = { w: optionalCount, h: optionalCount };
const duration = { duration: optionalCount };
const thumbnail = {
  thumbnail_url: optionalText,
  thumbnail_file: leftOut(encryptedFile),
  thumbnail_info: leftOut(v.object({ ...dimensions, ...size })),
};

const fileTypes = new Set<string>(['m.image', 'm.file', 'm.audio', 'm.video']);

const schema = v.variant('msgtype', [
  v.object({ msgtype: v.picklist(['m.text', 'm.notice', 'm.emote']), ...formatted }),
  withFile('m.image', { ...size, ...dimensions, ...thumbnail }),
  withFile('m.file', { ...size, ...thumbnail }),
  withFile('m.audio', { ...size, ...duration }),
  withFile('m.video', { ...size, ...dimensions, ...duration, ...thumbnail }),
  v.object({
    msgtype: v.literal('m.location'),
    body: v.string(),
    geo_uri: v.string(),
    info: leftOut(v.object(thumbnail)),
  }),
]);

/**
 * Reads the content of a message, in which a sender can put anything. Returns the fields that the specification defines for
 * its `msgtype`; one of a wrong type is left out. Undefined if the `msgtype` is another one, or if a field is missing without
 * which the message says nothing: `body`, the `url` or `file` of a file, the `geo_uri` of a location. Of an edit it
 * reads the new content.
 *
 * @example
 * const content = readMessageContent(event.content);
 * if (content?.msgtype === 'm.image') console.log(content.info?.w, content.info?.h);
 */
export function readMessageContent(content: EventContent): MessageContent | undefined {
  const { 'm.relates_to': relation, 'm.new_content': newContent } = content;
  const isEdit = isObject(relation) && relation.rel_type === 'm.replace' && isObject(newContent);
  const read = v.safeParse(schema, isEdit ? newContent : content);
  if (!read.success) return undefined;
  const { output } = read;
  const { url, file } = output as { readonly url?: string; readonly file?: EncryptedFile };
  if (fileTypes.has(output.msgtype) && url === undefined && file === undefined) return undefined;
  return withoutUndefined(output) as MessageContent;
}

function withFile<Type extends string, Info extends v.ObjectEntries>(type: Type, info: Info) {
  return v.object({
    msgtype: v.literal(type),
    ...formatted,
    filename: optionalText,
    url: optionalText,
    file: leftOut(encryptedFile),
    info: leftOut(v.object(info)),
  });
}

/** An optional field, which counts as absent if it has a wrong type. */
function leftOut<Schema extends v.GenericSchema>(field: Schema) {
  return v.fallback(v.optional(field, undefined), undefined);
}

function withoutUndefined(value: unknown): unknown {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return value;
  const kept = Object.entries(value).filter(([, part]) => part !== undefined);
  return Object.fromEntries(kept.map(([key, part]) => [key, withoutUndefined(part)]));
}
