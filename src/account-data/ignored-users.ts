import * as v from 'valibot';
import type { CallOptions } from '../core/call-options.js';
import { invalidOptions, isManagerError } from '../core/errors.js';
import { KeyedQueue } from '../core/keyed-queue.js';
import { isObject } from '../core/raw-event.js';
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

/**
 * Changes the list of users whose messages and invites the homeserver keeps from a user.
 * @see https://spec.matrix.org/v1.16/client-server-api/#ignoring-users
 */
export class IgnoredUsers {
  readonly #accountData: AccountData;
  /** One change of a user's list at a time: each replaces the whole list. */
  readonly #queue = new KeyedQueue();

  constructor(accountData: AccountData) {
    this.#accountData = accountData;
  }

  /** Resolves to the users who are ignored afterwards. Without a change, makes no request but the one that reads them. */
  async change(
    session: Session,
    { ignore = [], unignore = [] }: Pick<IgnoreUsersOptions, 'ignore' | 'unignore'>,
    signal: AbortSignal,
  ): Promise<string[]> {
    const changeInTurn = async (): Promise<string[]> => {
      const { content, ignored } = await this.#read(session, signal);
      const isChange = ignore.some((user) => !ignored.has(user)) || unignore.some((user) => ignored.has(user));
      for (const user of ignore) if (!ignored.has(user)) ignored.set(user, {});
      for (const user of unignore) ignored.delete(user);
      if (isChange) {
        const changed = { ...content, ignored_users: Object.fromEntries(ignored) };
        await this.#accountData.set(session, { type: TYPE, content: changed }, signal);
      }
      return [...ignored.keys()];
    };
    return this.#queue.run(session.userId, changeInTurn, signal, 'ignoring users');
  }

  /** The content, with what other clients have stored in it, and its users. */
  async #read(session: Session, signal: AbortSignal) {
    try {
      const content = await this.#accountData.get(session, { type: TYPE }, signal);
      const { ignored_users: users } = content;
      return { content, ignored: new Map<string, unknown>(isObject(users) ? Object.entries(users) : []) };
    } catch (error) {
      if (isManagerError(error, 'NOT_FOUND')) return { content: {}, ignored: new Map<string, unknown>() };
      throw error;
    }
  }
}
