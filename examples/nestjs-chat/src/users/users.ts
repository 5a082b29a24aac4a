import { Injectable, Logger } from '@nestjs/common';
import type { OnApplicationBootstrap } from '@nestjs/common';
import type { MatrixClientManager } from 'matrix-client-manager';
import { DatabaseSync } from 'node:sqlite';
import { Tenants } from '../tenants/tenants.js';

/** A user of the application. */
export interface User {
  readonly tenant: string;
  readonly username: string;
  /** The user's Matrix account, made at the first use. */
  readonly userId: string;
  /** The manager of the user's tenant. */
  readonly matrix: MatrixClientManager;
}

const TWO_WEEKS_MS = 14 * 24 * 3_600_000;

@Injectable()
export class Users implements OnApplicationBootstrap {
  readonly #logger = new Logger('Users');

  constructor(
    private readonly database: DatabaseSync,
    private readonly tenants: Tenants,
  ) {}

  /** The users of a tenant by their names. Accounts that are missing are made. */
  async find(tenant: string, usernames: readonly string[]): Promise<User[]> {
    return Promise.all(usernames.map((username) => this.#find(tenant, username)));
  }

  async #find(tenant: string, username: string): Promise<User> {
    const matrix = this.tenants.managerOf(tenant);
    const known = this.database
      .prepare('SELECT matrix_user_id FROM users WHERE tenant = ? AND username = ?')
      .get(tenant, username);
    if (known) return { tenant, username, matrix, userId: String(known['matrix_user_id']) };
    const { userId } = await matrix.provisionUser({ username, displayName: username });
    this.database
      .prepare('INSERT INTO users VALUES (?, ?, ?, 0) ON CONFLICT DO NOTHING') // two requests at once
      .run(tenant, username, userId);
    return { tenant, username, matrix, userId };
  }

  noteSeen({ userId }: User): void {
    this.database.prepare('UPDATE users SET seen_at = ? WHERE matrix_user_id = ?').run(Date.now(), userId);
  }

  /** After a restart: users who were here lately receive what they have missed. Others do so when they come back. */
  onApplicationBootstrap(): void {
    const users = this.database
      .prepare('SELECT tenant, matrix_user_id FROM users WHERE seen_at > ?')
      .all(Date.now() - TWO_WEEKS_MS);
    for (const row of users) {
      const userId = String(row['matrix_user_id']);
      const manager = this.tenants.managerOf(String(row['tenant']));
      manager.startClient({ userId }).catch((error: Error) => {
        this.#logger.warn(`The client of ${userId} did not start: ${error.message}`);
      });
    }
  }
}
