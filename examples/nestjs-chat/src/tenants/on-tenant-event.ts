import { applyDecorators } from '@nestjs/common';
import { OnMatrixEvent } from 'matrix-client-manager/nestjs';
import type { OnMatrixEventOptions } from 'matrix-client-manager/nestjs';
import { config } from '../config.js';

/** `@OnMatrixEvent()` for the managers of all tenants. */
export function OnTenantEvent(options: Omit<OnMatrixEventOptions, 'name'>): MethodDecorator {
  return applyDecorators(...config.tenants.map(({ id }) => OnMatrixEvent({ ...options, name: id })));
}
