import type { EventContent, MessageEvent, RoomMessage } from 'matrix-client-manager';

/** A message as the page gets it. All texts are of other people: the page shows them as text. */
export interface MessageView {
  readonly eventId: string;
  readonly sender: string;
  readonly timestamp: number;
  /** `file` is also a video or an audio file. */
  readonly kind: 'text' | 'image' | 'file' | 'deleted' | 'unreadable';
  readonly text: string;
  readonly replyTo?: string;
  readonly isEdited: boolean;
  readonly file?: FileView;
  /** The `txnId` that the page has sent the message with. */
  readonly txnId?: string;
}

export interface FileView {
  readonly name: string;
  readonly size?: number;
  readonly width?: number;
  readonly height?: number;
}

/** A message of a page, or one that has just come. */
export function toMessageView(message: RoomMessage | MessageEvent): MessageView {
  const { eventId, sender, timestamp, content, replyTo, text = '' } = message;
  const txnId = 'transactionId' in message ? message.transactionId : undefined;
  const common = {
    eventId,
    sender,
    timestamp,
    isEdited: 'edited' in message && message.edited !== undefined,
    ...(replyTo !== undefined && { replyTo }),
    ...(txnId !== undefined && { txnId }),
  };
  if (message.redacted) return { ...common, kind: 'deleted', text: '' };
  if (message.eventType === 'm.room.encrypted') return { ...common, kind: 'unreadable', text: '' };
  const isFile = typeof content['url'] === 'string' || content['file'] !== undefined;
  if (!isFile) return { ...common, kind: 'text', text: message.msgtype === 'm.emote' ? `* ${text}` : text };
  const isImage = message.msgtype === 'm.image' || message.eventType === 'm.sticker';
  return { ...common, kind: isImage ? 'image' : 'file', text, file: fileView(content, text) };
}

function fileView(content: EventContent, body: string): FileView {
  const { info, filename } = content;
  const { size, w: width, h: height } = (info ?? {}) as { size?: unknown; w?: unknown; h?: unknown };
  return {
    name: typeof filename === 'string' ? filename : body || 'file',
    ...(isNumber(size) && { size }),
    ...(isNumber(width) && { width }),
    ...(isNumber(height) && { height }),
  };
}

function isNumber(value: unknown): value is number {
  return typeof value === 'number' && Number.isFinite(value) && value >= 0;
}
