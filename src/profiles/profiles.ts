import * as v from 'valibot';
import { orAborted } from '../core/abort.js';
import { RecentMap } from '../core/recent-map.js';
import type { HomeserverContext } from '../http/homeserver-context.js';
import { path } from '../http/path.js';
import { optionalText } from '../http/response-parts.js';
import type { Session } from '../http/session.js';
import type { GetProfileOptions, Profile, SetAvatarOptions, SetDisplayNameOptions } from './profile-options.js';

const profileSchema = v.object({ displayname: optionalText, avatar_url: optionalText });

const MAX_AGE_MS = 300_000;
/** How many profiles are kept. */
const MAX_PROFILES = 10_000;

/** A profile that is being read, or was read. */
interface ReadProfile {
  readonly profile: Promise<Profile>;
  readonly targetUserId: string;
  /** In milliseconds since the Unix epoch. */
  readonly readAt: number;
}

/**
 * Reads and changes display names and avatars. What a user has read is kept for that user alone, because a homeserver
 * may show a profile to some users only.
 * @see https://spec.matrix.org/v1.16/client-server-api/#profiles
 */
export class Profiles {
  readonly #context: Pick<HomeserverContext, 'clock' | 'http'>;
  readonly #shutdown: AbortSignal;
  /** By the user who asked, and the user whose profile it is. A failed one is removed. */
  readonly #read: RecentMap<ReadProfile>;

  /** @param shutdown - ends the requests, which callers share */
  constructor(context: Pick<HomeserverContext, 'clock' | 'http'>, shutdown: AbortSignal, maxProfiles = MAX_PROFILES) {
    this.#context = context;
    this.#shutdown = shutdown;
    this.#read = new RecentMap(maxProfiles);
  }

  /** Concurrent callers share one request. */
  async get(session: Session, options: Omit<GetProfileOptions, 'userId'>, signal: AbortSignal): Promise<Profile> {
    const { targetUserId = session.userId, maxAgeMs = MAX_AGE_MS } = options;
    const now = this.#context.clock.now();
    const key = JSON.stringify([session.userId, targetUserId]);
    let read = this.#read.get(key);
    // The clock may have been set back.
    if (!read || now - read.readAt >= maxAgeMs || now < read.readAt) {
      read = { profile: this.#request(session, targetUserId), targetUserId, readAt: now };
      this.#read.set(key, read);
      const { profile } = read;
      profile.catch(() => {
        if (this.#read.get(key)?.profile === profile) this.#read.delete(key);
      });
    }
    return orAborted(read.profile, signal, operationOf(targetUserId));
  }

  async setDisplayName(session: Session, { displayName }: SetDisplayNameOptions, signal: AbortSignal): Promise<void> {
    await this.#set(session, 'displayname', displayName, signal);
  }

  async setAvatar(session: Session, { avatarUrl }: SetAvatarOptions, signal: AbortSignal): Promise<void> {
    await this.#set(session, 'avatar_url', avatarUrl ?? '', signal);
  }

  /** Forgets what was read of a user's profile, after it was changed. */
  forget(targetUserId: string): void {
    for (const [key, read] of this.#read) {
      if (read.targetUserId === targetUserId) this.#read.delete(key);
    }
  }

  async #request(session: Session, targetUserId: string): Promise<Profile> {
    const body = await this.#context.http.request(profileSchema, {
      operation: operationOf(targetUserId),
      userId: session.userId,
      method: 'GET',
      path: path`/_matrix/client/v3/profile/${targetUserId}`,
      session,
      signal: this.#shutdown,
    });
    return Object.freeze({
      userId: targetUserId,
      displayName: body.displayname || undefined,
      avatarUrl: body.avatar_url || undefined,
    });
  }

  async #set(session: Session, field: string, value: string, signal: AbortSignal): Promise<void> {
    const { userId } = session;
    const changing = this.#context.http.request(v.unknown(), {
      operation: `changing the profile of ${userId}`,
      userId,
      method: 'PUT',
      path: path`/_matrix/client/v3/profile/${userId}/${field}`,
      body: { [field]: value },
      session,
      signal,
    });
    // Also after a failure: the homeserver may have made the change. A profile whose request is on its way may be the old one.
    await changing.finally(() => this.forget(userId));
  }
}

function operationOf(targetUserId: string): string {
  return `reading the profile of ${targetUserId}`;
}
