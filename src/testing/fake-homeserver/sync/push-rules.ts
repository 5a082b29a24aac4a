import type { JsonObject } from '../json.js';
import type { User } from '../world/user.js';

const NOTIFY = 'notify';
const HIGHLIGHT = { set_tweak: 'highlight' };
const NO_HIGHLIGHT = { set_tweak: 'highlight', value: false };
const SOUND = { set_tweak: 'sound', value: 'default' };

const matches = (key: string, pattern: string): JsonObject => ({ kind: 'event_match', key, pattern });
const contains = (key: string, value: string): JsonObject => ({ kind: 'event_property_contains', key, value });
const equals = (key: string, value: unknown): JsonObject => ({ kind: 'event_property_is', key, value });
const isType = (type: string): JsonObject => matches('type', type);
const TWO_MEMBERS = { kind: 'room_member_count', is: '2' };
const MAY_NOTIFY_ROOM = { kind: 'sender_notification_permission', key: 'room' };
const EMPTY_STATE_KEY = matches('state_key', '');

const JITSI = [isType('im.vector.modular.widgets'), matches('content.type', 'jitsi'), matches('state_key', '*')];

function rule(id: string, conditions: JsonObject[], actions: unknown[], enabled = true): JsonObject {
  return { rule_id: id, default: true, enabled, conditions, actions };
}

/**
 * The default push rules, as in Synapse.
 * @see https://spec.matrix.org/v1.16/client-server-api/#predefined-rules
 */
export function pushRules({ userId, localpart }: User): JsonObject {
  const ownInvite = [isType('m.room.member'), matches('content.membership', 'invite'), matches('state_key', userId)];
  return {
    global: {
      override: [
        rule('.m.rule.master', [], [], false),
        rule('.m.rule.suppress_notices', [matches('content.msgtype', 'm.notice')], []),
        rule('.m.rule.invite_for_me', ownInvite, [NOTIFY, NO_HIGHLIGHT, SOUND]),
        rule('.m.rule.member_event', [isType('m.room.member')], []),
        rule(
          '.m.rule.is_user_mention',
          [contains(String.raw`content.m\.mentions.user_ids`, userId)],
          [NOTIFY, HIGHLIGHT, SOUND],
        ),
        rule('.m.rule.contains_display_name', [{ kind: 'contains_display_name' }], [NOTIFY, HIGHLIGHT, SOUND]),
        rule(
          '.m.rule.is_room_mention',
          [equals(String.raw`content.m\.mentions.room`, true), MAY_NOTIFY_ROOM],
          [NOTIFY, HIGHLIGHT],
        ),
        rule('.m.rule.roomnotif', [MAY_NOTIFY_ROOM, matches('content.body', '@room')], [NOTIFY, HIGHLIGHT]),
        rule('.m.rule.tombstone', [isType('m.room.tombstone'), EMPTY_STATE_KEY], [NOTIFY, HIGHLIGHT]),
        rule('.m.rule.reaction', [isType('m.reaction')], []),
        rule('.m.rule.room.server_acl', [isType('m.room.server_acl'), EMPTY_STATE_KEY], []),
        rule('.m.rule.suppress_edits', [equals(String.raw`content.m\.relates_to.rel_type`, 'm.replace')], []),
      ],
      content: [
        {
          rule_id: '.m.rule.contains_user_name',
          default: true,
          enabled: true,
          pattern: localpart,
          actions: [NOTIFY, HIGHLIGHT, SOUND],
        },
      ],
      room: [],
      sender: [],
      postcontent: [],
      underride: [
        rule('.m.rule.call', [isType('m.call.invite')], [NOTIFY, { set_tweak: 'sound', value: 'ring' }, NO_HIGHLIGHT]),
        rule(
          '.m.rule.encrypted_room_one_to_one',
          [isType('m.room.encrypted'), TWO_MEMBERS],
          [NOTIFY, SOUND, NO_HIGHLIGHT],
        ),
        rule('.m.rule.room_one_to_one', [isType('m.room.message'), TWO_MEMBERS], [NOTIFY, SOUND, NO_HIGHLIGHT]),
        rule('.m.rule.message', [isType('m.room.message')], [NOTIFY, NO_HIGHLIGHT]),
        rule('.im.vector.jitsi', JITSI, [NOTIFY, NO_HIGHLIGHT]),
        rule('.m.rule.encrypted', [isType('m.room.encrypted')], [NOTIFY, NO_HIGHLIGHT]),
      ],
    },
  };
}
