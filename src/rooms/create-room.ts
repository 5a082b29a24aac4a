import { randomUUID } from 'node:crypto';
import * as v from 'valibot';
import { toContentPart } from '../core/content-part.js';
import { invalidOptions } from '../core/errors.js';
import { describe } from '../core/ids.js';
import type { EventContent } from '../core/raw-event.js';
import { flag, listOf, name, object, oneOf, optionsOf, text, unchecked, userId } from '../core/validation.js';
import { assertSupportedEncryption, ENCRYPTION, ENCRYPTION_CONTENT } from './encryption-state.js';
import { toPowerLevels } from './power-levels.js';
import { callOf } from './room-calls.js';
import type { RoomCallOptions } from './room-calls.js';

export interface InitialState {
  /** The event type. */
  readonly type: string;
  /** Tells events of one type apart. @default '' */
  readonly stateKey?: string | undefined;
  /** The content of the event. */
  readonly content: EventContent;
}

export interface CreateRoomOptions extends RoomCallOptions {
  /** The name that members see. @default none */
  readonly name?: string | undefined;
  /** What the room is about. @default none */
  readonly topic?: string | undefined;
  /** Who may join, and the power of the invited users. @default 'private_chat' */
  readonly preset?: 'private_chat' | 'public_chat' | 'trusted_private_chat' | undefined;
  /** An alias on this homeserver, as `#lobby:example.org` or as `lobby`. @default none */
  readonly alias?: string | undefined;
  /** User ids that are invited. Homeservers limit their number; `ensureMember()` adds more. @default none */
  readonly invite?: readonly string[] | undefined;
  /** Whether the room is encrypted from its beginning. @default false */
  readonly encrypted?: boolean | undefined;
  /**
   * Fields of `m.room.power_levels` that replace the homeserver's defaults. The creators are listed in `users`, or left
   * out, as the room version needs it.
   */
  readonly powerLevels?: EventContent | undefined;
  /** Whether the invitations say that this is a direct chat. See `findOrCreateDirect()`. @default false */
  readonly direct?: boolean | undefined;
  /** State events that the room begins with. @default none */
  readonly initialState?: readonly InitialState[] | undefined;
  /** The version of the room, such as `12`. @default the homeserver's choice */
  readonly roomVersion?: string | undefined;
}

export const createRoomSchema = callOf<CreateRoomOptions>({
  name: v.optional(text),
  topic: v.optional(text),
  preset: v.optional(oneOf('private_chat', 'public_chat', 'trusted_private_chat')),
  alias: v.optional(name),
  invite: v.optional(listOf(userId)),
  encrypted: v.optional(flag),
  powerLevels: v.optional(object<EventContent>()),
  direct: v.optional(flag),
  initialState: v.optional(
    listOf(optionsOf<InitialState>({ type: name, stateKey: v.optional(text), content: unchecked() })),
  ),
  roomVersion: v.optional(name),
});

/** The key in `m.room.create` by which a room is found whose creation got no answer. */
export const CREATION_ID = 'com.github.matrix-client-manager.creation_id';

/** A room to create: all but what depends on the creator and on the room version. */
export interface RoomPlan {
  /** Without `power_level_content_override`. */
  readonly body: Readonly<Record<string, unknown>>;
  readonly powerLevels: EventContent | undefined;
  /** The version of the room; undefined: the homeserver's choice. */
  readonly version: string | undefined;
  readonly invite: readonly string[];
  /** The invited users become creators, too. */
  readonly isTrusted: boolean;
  readonly creationId: string;
  /** The state events that the room has when its creation is complete, as type and state key. */
  readonly state: readonly (readonly [type: string, stateKey: string])[];
  /** The contents of its `m.room.encryption` events. */
  readonly encryption: readonly EventContent[];
}

/** Checks what the schema cannot check. Throws `INVALID_OPTIONS`. */
export function planRoom(options: CreateRoomOptions, creator: string | undefined, serverName: string): RoomPlan {
  const {
    name: roomName,
    topic,
    preset = 'private_chat',
    alias,
    encrypted,
    powerLevels,
    direct,
    roomVersion,
  } = options;
  const given = (options.initialState ?? []).map(({ type, stateKey = '', content }, index) => {
    const copy = toContentPart(content, `initialState.${index}.content`);
    if (type === ENCRYPTION && stateKey === '') assertSupportedEncryption(copy, `initialState.${index}.content`);
    return { type, state_key: stateKey, content: copy };
  });
  const isGivenEncrypted = given.some(({ type, state_key: key }) => type === ENCRYPTION && key === '');
  if (encrypted === false && isGivenEncrypted) {
    throw invalidOptions(
      `expected \`encrypted\` to be true with an ${ENCRYPTION} event in \`initialState\`, got false`,
    );
  }
  const added =
    encrypted && !isGivenEncrypted ? [{ type: ENCRYPTION, state_key: '', content: ENCRYPTION_CONTENT }] : [];
  const initialState = [...given, ...added];
  const invite = [...new Set(options.invite)].filter((invited) => invited !== creator);
  const creationId = randomUUID();
  const levels = powerLevels && toPowerLevels(powerLevels, false);
  return {
    body: {
      preset,
      ...(roomName !== undefined && { name: roomName }),
      ...(topic !== undefined && { topic }),
      ...(alias !== undefined && { room_alias_name: aliasName(alias, serverName) }),
      ...(invite.length > 0 && { invite }),
      ...(direct !== undefined && { is_direct: direct }),
      ...(roomVersion !== undefined && { room_version: roomVersion }),
      ...(initialState.length > 0 && { initial_state: initialState }),
      creation_content: { [CREATION_ID]: creationId },
    },
    powerLevels: levels,
    version: roomVersion,
    invite,
    isTrusted: preset === 'trusted_private_chat',
    creationId,
    state: [
      ...initialState.map(({ type, state_key: key }) => [type, key] as const),
      ...(roomName ? [['m.room.name', ''] as const] : []),
      ...(topic ? [['m.room.topic', ''] as const] : []),
    ],
    encryption: initialState
      .filter(({ type, state_key: key }) => type === ENCRYPTION && key === '')
      .map(({ content }) => content),
  };
}

/** The localpart of an alias on this homeserver, which is what `createRoom` takes. */
function aliasName(alias: string, serverName: string): string {
  const suffix = `:${serverName}`;
  const isWhole = alias.startsWith('#') && alias.endsWith(suffix);
  const localpart = isWhole ? alias.slice(1, -suffix.length) : alias;
  // With a "#" at its start it is an alias without a server; elsewhere a "#" is allowed.
  if (localpart !== '' && !/^#|[:\s\0]/.test(localpart) && Buffer.byteLength(`#${localpart}${suffix}`) <= 255)
    return localpart;
  throw invalidOptions(`expected \`alias\` to be like #lobby${suffix}, or lobby, got ${describe(alias)}`);
}
