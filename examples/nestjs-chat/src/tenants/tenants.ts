import { Injectable } from '@nestjs/common';
import { ModuleRef } from '@nestjs/core';
import type { MatrixClientManager } from 'matrix-client-manager';
import { getMatrixToken } from 'matrix-client-manager/nestjs';
import { config } from '../config.js';

@Injectable()
export class Tenants {
  constructor(private readonly moduleRef: ModuleRef) {}

  has(tenant: string): boolean {
    return config.tenants.some(({ id }) => id === tenant);
  }

  /** The manager of a tenant. */
  managerOf(tenant: string): MatrixClientManager {
    return this.moduleRef.get(getMatrixToken(tenant), { strict: false });
  }
}
