import { Controller, Get } from '@nestjs/common';
import { HealthCheck, HealthCheckService } from '@nestjs/terminus';
import type { HealthCheckResult } from '@nestjs/terminus';
import { MatrixHealthIndicator } from 'matrix-client-manager/nestjs';
import { config } from '../config.js';
import { Tenants } from '../tenants/tenants.js';

@Controller('health')
export class HealthController {
  constructor(
    private readonly health: HealthCheckService,
    private readonly tenants: Tenants,
  ) {}

  @Get()
  @HealthCheck()
  check(): Promise<HealthCheckResult> {
    return this.health.check(
      config.tenants.map(({ id }) => {
        const indicator = new MatrixHealthIndicator(this.tenants.managerOf(id));
        return () => indicator.isHealthy(id);
      }),
    );
  }
}
