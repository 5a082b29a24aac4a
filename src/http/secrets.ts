const SECRET_FIELDS = ['password', 'new_password', 'token', 'refresh_token', 'access_token'];

/** Shorter values are not treated as secrets, because replacing them would make messages unreadable. */
const MIN_LENGTH = 4;

/** The values of a request that must not appear in errors or logs: its token, and passwords and tokens in its body. */
export function secretsOf(accessToken: string | undefined, body: unknown): string[] {
  const fields = (body ?? {}) as Record<string, unknown>;
  const values = [accessToken, ...SECRET_FIELDS.map((name) => fields[name])];
  return values.filter((value): value is string => typeof value === 'string' && value.length >= MIN_LENGTH);
}

/** Replaces `secrets` in a text that comes from a homeserver or a fetch function. */
export function withoutSecrets(text: string, secrets: readonly string[]): string {
  return secrets.reduce((rest, secret) => rest.replaceAll(secret, '[hidden]'), text);
}
