import * as v from 'valibot';
import type { CallOptions } from '../core/call-options.js';
import { invalidOptions } from '../core/errors.js';
import { isObject } from '../core/raw-event.js';
import type { EventContent } from '../core/raw-event.js';
import { listOf, optionsOf, signal, userId } from '../core/validation.js';
import type { Session } from '../http/session.js';
import type { AccountData } from './account-data.js';

export interface IgnoreUsersOptions extends CallOptions {
  readonly userId: string;
  /** The users to ignore from now on, besides those who are ignored already. @default none */
  readonly ignore?: readonly string[] | undefined;
  /** The users who are no longer ignored. @default none */
  readonly unignore?: readonly string[] | undefined;
}

export const ignoreUsersSchema = v.pipe(
  optionsOf<IgnoreUsersOptions>({
    userId,
    ignore: v.optional(listOf(userId)),
    unignore: v.optional(listOf(userId)),
    signal: v.optional(signal),
  }),
  v.transform((options) => {
    const { ignore = [], unignore = [] } = options;
    const inBoth = ignore.find((other) => unignore.includes(other));
    if (inBoth !== undefined) throw invalidOptions(`expected ${inBoth} to be in one of \`ignore\` and \`unignore\``);
    if (ignore.includes(options.userId))
      throw invalidOptions('expected `ignore` without the user', { userId: options.userId });
    return { ...options, ignore, unignore };
  }),
);

const TYPE = 'm.ignored_user_list';

/** The user's messages in memory, from which pages are read. */
export interface MessagesInMemory {
  /** Called before the list is changed. */
  suspend(): void;
  /** Called if the change has failed. After a change, the source of the user's events does it. */
  restart(): void;
}

/**
 * Changes the list of users whose messages and invites the homeserver keeps from a user.
 * @see https://spec.matrix.org/v1.16/client-server-api/#ignoring-users
 */
export class IgnoredUsers {
  readonly #accountData: AccountData;

  constructor(accountData: AccountData) {
    this.#accountData = accountData;
  }

  /**
   * Resolves to the users who are ignored afterwards. Without a change, only reads the list.
   * @param context.timelines - of the user's client, if it runs
   */
  async change(
    session: Session,
    { ignore = [], unignore = [] }: Pick<IgnoreUsersOptions, 'ignore' | 'unignore'>,
    { timelines, signal }: { readonly timelines?: MessagesInMemory; readonly signal: AbortSignal },
  ): Promise<string[]> {
    let isChange = false;
    let users: string[] = [];
    const changed = (content: EventContent = {}): EventContent | undefined => {
      const { ignored_users: listed } = content;
      const ignored = new Map<string, unknown>(isObject(listed) ? Object.entries(listed) : []);
      isChange = ignore.some((user) => !ignored.has(user)) || unignore.some((user) => ignored.has(user));
      for (const user of ignore) if (!ignored.has(user)) ignored.set(user, {});
      for (const user of unignore) ignored.delete(user);
      users = [...ignored.keys()];
      if (!isChange) return undefined;
      timelines?.suspend();
      return { ...content, ignored_users: Object.fromEntries(ignored) };
    };
    try {
      await this.#accountData.update(session, { type: TYPE }, changed, signal);
    } catch (error) {
      if (isChange) timelines?.restart();
      throw error;
    }
    return users;
  }
}
