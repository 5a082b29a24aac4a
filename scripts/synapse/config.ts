import { randomBytes } from 'node:crypto';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

const serverName = 'hs.test';
const unlimited = { per_second: 100_000, burst_count: 100_000 };

export interface SynapseConfig {
  readonly path: string;
  readonly serverName: string;
}

/**
 * Writes the configuration of a Synapse for tests: SQLite, one listener for clients on loopback, no federation, no
 * rate limits. Secrets are drawn once per folder, so that a folder can be started again. YAML reads JSON as it is.
 */
export async function writeConfig(
  dir: string,
  port: number,
  extraConfig: Record<string, unknown>,
): Promise<SynapseConfig> {
  await mkdir(dir, { recursive: true });
  const path = join(dir, 'homeserver.json');
  const logConfig = join(dir, 'log.json');
  await writeFile(logConfig, JSON.stringify(logging));
  const config = { ...common(dir, logConfig), ...(await secrets(dir)), listeners: [listener(port)], ...extraConfig };
  await writeFile(path, JSON.stringify(config, undefined, 2), { mode: 0o600 });
  return { path, serverName: typeof extraConfig['server_name'] === 'string' ? extraConfig['server_name'] : serverName };
}

const logging = {
  version: 1,
  formatters: { plain: { format: '%(asctime)s %(levelname)s %(name)s: %(message)s' } },
  handlers: { console: { class: 'logging.StreamHandler', formatter: 'plain' } },
  root: { level: 'WARNING', handlers: ['console'] },
  disable_existing_loggers: false,
};

const listener = (port: number): object => ({
  port,
  type: 'http',
  tls: false,
  bind_addresses: ['127.0.0.1'],
  resources: [{ names: ['client'], compress: false }],
});

const common = (dir: string, logConfig: string): object => ({
  server_name: serverName,
  report_stats: false,
  pid_file: join(dir, 'homeserver.pid'),
  log_config: logConfig,
  media_store_path: join(dir, 'media'),
  database: { name: 'sqlite3', args: { database: join(dir, 'homeserver.db') } },
  federation_domain_whitelist: [],
  trusted_key_servers: [],
  background_updates: { sleep_enabled: false, min_batch_size: 100_000 },
  bcrypt_rounds: 4,
  presence: { enabled: false },
  enable_registration: false,
  rc_message: unlimited,
  rc_registration: unlimited,
  rc_login: { address: unlimited, account: unlimited, failed_attempts: unlimited },
  rc_admin_redaction: unlimited,
  rc_joins: { local: unlimited, remote: unlimited },
  rc_joins_per_room: unlimited,
  rc_key_requests: unlimited,
  rc_invites: { per_room: unlimited, per_user: unlimited, per_issuer: unlimited },
  rc_media_create: unlimited,
  rc_delayed_event_mgmt: unlimited,
  rc_room_creation: unlimited,
  rc_reports: unlimited,
  rc_user_directory: unlimited,
  rc_presence: { per_user: unlimited },
});

const secret = (): string => randomBytes(32).toString('base64').replace('=', '');

/** The shared secret serves to make the first admin; the library itself never uses one. */
async function secrets(dir: string): Promise<object> {
  const path = join(dir, 'secrets.json');
  const kept = await readFile(path, 'utf8').catch(() => undefined);
  if (kept !== undefined) return JSON.parse(kept) as object;
  const fresh = {
    signing_key: `ed25519 a_test ${secret()}`,
    macaroon_secret_key: secret(),
    form_secret: secret(),
    registration_shared_secret: secret(),
  };
  await writeFile(path, JSON.stringify(fresh), { mode: 0o600 });
  return fresh;
}
