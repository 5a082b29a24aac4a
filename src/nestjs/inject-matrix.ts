import { Inject } from '@nestjs/common';
import type { InjectionToken } from '@nestjs/common';
import { MatrixClientManager } from '../manager/matrix-client-manager.js';

/** The token of a manager, for `app.get()`, `overrideProvider()` and `inject`. @param name - its `name`, if it has one */
export function getMatrixToken(name?: string): InjectionToken<MatrixClientManager> {
  return name === undefined ? MatrixClientManager : `MatrixClientManager:${name}`;
}

/**
 * Injects a manager. Without a name, the type `MatrixClientManager` of a parameter has the same effect.
 *
 * @example
 * constructor(@InjectMatrix('tenant-a') private readonly matrix: MatrixClientManager) {}
 */
export function InjectMatrix(name?: string): PropertyDecorator & ParameterDecorator {
  return Inject(getMatrixToken(name));
}
