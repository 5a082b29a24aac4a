import { isManagerError } from '../core/errors.js';
import type { MatrixClientManager } from '../manager/matrix-client-manager.js';

/** What a health indicator of `@nestjs/terminus` returns. */
export type MatrixHealth<Key extends string> = Readonly<
  Record<
    Key,
    { readonly status: 'up' | 'down'; readonly health: 'ok' | 'degraded' | 'down'; readonly reasons: readonly string[] }
  >
>;

/**
 * A health indicator for `@nestjs/terminus`, of `manager.checkHealth()`. The status is `up` unless the homeserver does not
 * answer: an instance that restarts does not mend single clients. `health` tells `degraded`, too.
 *
 * @example
 * check() { return this.health.check([() => this.matrix.isHealthy()]); }
 */
export class MatrixHealthIndicator {
  readonly #manager: MatrixClientManager;

  /** `MatrixModule` provides the indicator of the manager without a name. For others, pass the manager. */
  constructor(manager: MatrixClientManager) {
    this.#manager = manager;
  }

  /** Does not reject. @param key - the name in the result */
  async isHealthy<const Key extends string = 'matrix'>(key: Key = 'matrix' as Key): Promise<MatrixHealth<Key>> {
    const { status, reasons } = await this.#manager.checkHealth().catch((error: unknown) => {
      return { status: 'down', reasons: [isManagerError(error) ? error.code : 'the check failed'] } as const;
    });
    const result = { status: status === 'down' ? 'down' : 'up', health: status, reasons } as const;
    return { [key]: result } as unknown as MatrixHealth<Key>;
  }
}
