const SECRET_FIELDS = ['password', 'refresh_token', 'access_token'];

/** Shorter ones are no secrets, and to hide them would hide half of a message. */
const MIN_LENGTH = 4;

/** What must not be told of a request: its token, and the passwords and tokens in its body. */
export function secretsOf(accessToken: string | undefined, body: unknown): string[] {
  const fields = (body ?? {}) as Record<string, unknown>;
  const values = [accessToken, ...SECRET_FIELDS.map((name) => fields[name])];
  return values.filter((value): value is string => typeof value === 'string' && value.length >= MIN_LENGTH);
}

/** The text of somebody else, a homeserver or a fetch function, without the secrets that it may repeat. */
export function withoutSecrets(text: string, secrets: readonly string[]): string {
  return secrets.reduce((rest, secret) => rest.replaceAll(secret, '[hidden]'), text);
}
