import { isJsonObject } from '../json.js';
import type { JsonObject } from '../json.js';

const ROOM_ENCRYPTION = 'm.room.encryption';
const STATE_PATH = /\/rooms\/([^/]+)\/state\/m\.room\.encryption\/?$/;
const ROOM_PATH = /\/rooms\/([^/]+)\//;

/** What a homeserver says of the encryption of its rooms instead of the truth. */
export interface EncryptionLie {
  /** @default all rooms */
  readonly roomId?: string | undefined;
  /** The content that each `m.room.encryption` event gets; undefined: the events are left out. */
  readonly content: JsonObject | undefined;
}

/** Changes the response of a homeserver accordingly. Returns a response without such events unchanged. */
export async function tellLie(lie: EncryptionLie, path: string, response: Response): Promise<Response> {
  const roomId = decoded(ROOM_PATH.exec(path)?.[1]);
  const concerns = (room: string | undefined): boolean => lie.roomId === undefined || lie.roomId === room;
  const isState = STATE_PATH.test(path);
  if (isState && response.ok && concerns(roomId)) return stateAnswer(lie, response);
  if (!response.ok || !response.headers.get('content-type')?.includes('json')) return response;
  const text = await response.clone().text();
  if (!text.includes(ROOM_ENCRYPTION)) return response;
  const { status } = response;
  return Response.json(rewrite(JSON.parse(text), roomId, concerns, lie.content), { status });
}

async function stateAnswer({ content }: EncryptionLie, response: Response): Promise<Response> {
  if (content === undefined)
    return Response.json({ errcode: 'M_NOT_FOUND', error: 'Event not found.' }, { status: 404 });
  const body = (await response.json()) as JsonObject;
  return Response.json(isEncryptionEvent(body) ? { ...body, content } : content);
}

/** Replaces or removes the events in all lists, also in those of parts that the client does not read. */
function rewrite(
  value: unknown,
  roomId: string | undefined,
  concerns: (roomId: string | undefined) => boolean,
  content: JsonObject | undefined,
): unknown {
  if (Array.isArray(value)) {
    return value.flatMap((item: unknown) => {
      if (!isEncryptionEvent(item) || !concerns(roomId)) return [rewrite(item, roomId, concerns, content)];
      return content === undefined ? [] : [{ ...item, content }];
    });
  }
  if (!isJsonObject(value)) return value;
  const entries = Object.entries(value).map(([key, item]): [string, unknown] => {
    return [key, rewrite(item, key.startsWith('!') ? key : roomId, concerns, content)];
  });
  return Object.fromEntries(entries);
}

function isEncryptionEvent(value: unknown): value is JsonObject {
  return isJsonObject(value) && value['type'] === ROOM_ENCRYPTION && value['state_key'] === '';
}

function decoded(text: string | undefined): string | undefined {
  return text === undefined ? undefined : decodeURIComponent(text);
}
