/** How much of a room the user has not read, as the homeserver counts it by the user's push rules. */
export interface UnreadCount {
  /** Number of unread events that notify, highlights and events of threads included. */
  readonly unread: number;
  /** Number of those that mention the user, or highlight for another reason. */
  readonly highlights: number;
}

export const NOTHING_UNREAD: UnreadCount = Object.freeze({ unread: 0, highlights: 0 });
