/** What it takes to act as a user on one of their devices. */
export interface Credentials {
  /** Full Matrix user id, such as `@alice:example.org`. */
  readonly userId: string;
  readonly accessToken: string;
  readonly deviceId: string;
  /** Where the homeserver gave one at login. */
  readonly refreshToken?: string;
}
