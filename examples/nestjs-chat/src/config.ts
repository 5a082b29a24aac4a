/** A customer of this service, with a homeserver and an admin account of its own. */
export interface Tenant {
  readonly id: string;
  readonly homeserverUrl: string;
  readonly admin: { readonly userId: string; readonly password: string };
}

/** The settings, from environment variables. README.md lists them. */
export const config = {
  port: Number(process.env['PORT'] ?? 3000),
  dataFolder: required('DATA_FOLDER'),
  storageSecret: required('STORAGE_SECRET'),
  jwtSecret: required('JWT_SECRET'),
  tenants: required('TENANTS').split(',').map(tenant),
} as const;

function tenant(id: string): Tenant {
  const prefix = `TENANT_${id.toUpperCase()}`;
  return {
    id,
    homeserverUrl: required(`${prefix}_HOMESERVER_URL`),
    admin: { userId: required(`${prefix}_ADMIN_USER`), password: required(`${prefix}_ADMIN_PASSWORD`) },
  };
}

function required(name: string): string {
  const value = process.env[name];
  if (!value) throw new Error(`The environment variable ${name} is not set. README.md lists them.`);
  return value;
}
