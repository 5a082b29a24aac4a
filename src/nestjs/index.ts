/**
 * A module for NestJS 11 and 12.
 *
 * @module matrix-client-manager/nestjs
 */

export { MatrixModule } from './matrix-module.js';
export type { MatrixModuleAsyncOptions, MatrixModuleOptions, MatrixOptionsFactory } from './matrix-module-options.js';
export { getMatrixToken, InjectMatrix } from './inject-matrix.js';
export { OnMatrixEvent } from './on-matrix-event.js';
export type { OnMatrixEventOptions } from './on-matrix-event.js';
export { MatrixHealthIndicator } from './matrix-health-indicator.js';
export type { MatrixHealth } from './matrix-health-indicator.js';
export { MatrixExceptionFilter } from './matrix-exception-filter.js';
export { nestLogger } from './nest-logger.js';
