/** The credentials of a user on one device. */
export interface Credentials {
  /** Full Matrix user id, such as `@alice:example.org`. */
  readonly userId: string;
  readonly accessToken: string;
  readonly deviceId: string;
  /** The refresh token, if the homeserver returned one at login. */
  readonly refreshToken?: string;
}
