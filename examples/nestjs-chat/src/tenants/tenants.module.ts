import { Module } from '@nestjs/common';
import { sqliteStorage } from 'matrix-client-manager';
import { MatrixModule } from 'matrix-client-manager/nestjs';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { config } from '../config.js';
import { Tenants } from './tenants.js';

/** One manager per tenant, named after it. Credentials and positions are in a database of the tenant. */
const managers = config.tenants.map(({ id, homeserverUrl, admin }) =>
  MatrixModule.forRootAsync({
    name: id,
    useFactory: () => {
      mkdirSync(config.dataFolder, { recursive: true });
      const storage = sqliteStorage({ path: join(config.dataFolder, `matrix-${id}.db`), secret: config.storageSecret });
      return { homeserverUrl, admin, storage, deviceName: 'Chat service' };
    },
  }),
);

@Module({ imports: managers, providers: [Tenants], exports: [Tenants] })
export class TenantsModule {}
